package serve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/wire"
	pbserver "teamtalk/pb/server"
)

// demoPassword is the password of the demo accounts.
const demoPassword = "12345"

// demoNames are the demo accounts.
var demoNames = []string{"alice", "bob", "carol"}

// operators is what seeding needs of a database.
type operators interface {
	admin.Backend
	AddDepartment(ctx context.Context, name string) (id uint32, err error)
}

// seed makes the demo accounts and groups in a database that has no other
// accounts. It can be repeated: what is there is left alone, so that a start
// which was cut off is completed by the next one. It reports whether the
// database is a demo.
func seed(ctx context.Context, db operators) (bool, error) {
	all, err := db.ListUsers(ctx)
	if err != nil {
		return false, fmt.Errorf("look for accounts: %w", err)
	}
	for _, a := range all {
		if !slices.Contains(demoNames, a.Name) {
			return false, nil
		}
	}
	engineering, err := db.AddDepartment(ctx, "Engineering")
	if err != nil {
		return false, fmt.Errorf("make department: %w", err)
	}
	sales, err := db.AddDepartment(ctx, "Sales")
	if err != nil {
		return false, fmt.Errorf("make department: %w", err)
	}
	_, err = db.AddUsers(ctx, []dbproxy.AccountSpec{
		{Name: demoNames[0], Nick: "Alice", Password: demoPassword, Department: engineering},
		{Name: demoNames[1], Nick: "Bob", Password: demoPassword, Department: engineering},
		{Name: demoNames[2], Nick: "Carol", Password: demoPassword, Department: sales},
	})
	if err != nil {
		return false, fmt.Errorf("make demo accounts: %w", err)
	}
	for _, group := range []dbproxy.GroupSpec{
		{Name: "everyone", Creator: demoNames[0], Members: demoNames, Normal: true},
		{Name: "engineering", Creator: demoNames[1], Members: demoNames[:2], Normal: true},
	} {
		if _, _, err := db.AddGroup(ctx, group); err != nil {
			return false, fmt.Errorf("make group %s: %w", group.Name, err)
		}
	}
	return true, nil
}

// errNoAccounts refuses to make accounts that everybody can log in to.
var errNoAccounts = errors.New("there are no accounts yet, and demo accounts are for loopback only: " +
	"use --no-demo and add accounts with \"teamtalk user add\"")

// refuseDemo returns an error if somebody from outside could log in with the
// demo password. It asks the running db_proxy, which is what decides.
func refuseDemo(ctx context.Context, addr string) error {
	var open []string
	for _, name := range demoNames {
		ok, err := accepts(ctx, addr, name, demoPassword)
		if err != nil {
			return fmt.Errorf("check the password of %s: %w", name, err)
		}
		if ok {
			open = append(open, name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return fmt.Errorf("refused to listen beyond loopback: %s still with the demo password; "+
		"set another with \"teamtalk user passwd NAME\", or \"teamtalk user disable NAME\"", strings.Join(open, ", "))
}

// accepts reports whether a db_proxy accepts a log-in.
func accepts(ctx context.Context, addr, name, password string) (bool, error) {
	c, err := client.DialRaw(ctx, addr, "")
	if err != nil {
		return false, err
	}
	defer c.Close()
	err = c.Send(wire.ValidateReq, 1, &pbserver.IMValidateReq{
		UserName: proto.String(name), Password: proto.String(client.PasswordMD5(password)),
	})
	if err != nil {
		return false, err
	}
	var res pbserver.IMValidateRsp
	if err := c.Expect(ctx, wire.ValidateRes, &res); err != nil {
		return false, err
	}
	return res.GetResultCode() == 0, nil
}
