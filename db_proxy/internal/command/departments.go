package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
)

// departmentStore reads departments.
type departmentStore interface {
	// DepartmentsSince returns those changed after t, deleted ones included.
	DepartmentsSince(ctx context.Context, t uint32) ([]store.Department, error)
}

// departments answers 0210.
type departments struct {
	store departmentStore
}

func departmentCommands(d *departments) []Command {
	return []Command{{ID: wire.DepartmentsReq, Asker: ByUser, Reply: wire.DepartmentsRes, Query: d.changed}}
}

// changed answers with the departments changed after the time given, 0210 to
// 0211.
//
// Source: docs/protocol/flows.md §11.
func (d *departments) changed(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMDepartmentReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	all, err := d.store.DepartmentsSince(ctx, req.GetLatestUpdateTime())
	if err != nil {
		return nil, err
	}
	latest := req.GetLatestUpdateTime()
	res := &buddy.IMDepartmentRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	for _, dep := range all {
		latest = max(latest, dep.Updated)
		res.DeptList = append(res.DeptList, &basedefine.DepartInfo{
			DeptId:       proto.Uint32(dep.ID),
			Priority:     proto.Uint32(dep.Priority),
			DeptName:     proto.String(dep.Name),
			ParentDeptId: proto.Uint32(dep.Parent),
			DeptStatus:   basedefine.DepartmentStatusType(dep.Status).Enum(),
		})
	}
	res.LatestUpdateTime = proto.Uint32(latest)
	return res, nil
}
