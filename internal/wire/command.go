package wire

// Command is the command id of a PDU; its high byte is the service id.
// Source: docs/protocol/commands.md; ids above 0x80 in their service are
// extensions.
type Command uint16

// Service returns the service id that clients expect beside the command.
func (c Command) Service() uint16 { return uint16(c) >> 8 }

// SID_LOGIN: log-in and log-out, kicks, push settings.
const (
	MsgServerReq       Command = 0x0101 // IM.Login.IMMsgServReq; C→LS (TCP)
	MsgServerRes       Command = 0x0102 // IM.Login.IMMsgServRsp; LS→C
	LoginReq           Command = 0x0103 // IM.Login.IMLoginReq; C→MS
	LoginRes           Command = 0x0104 // IM.Login.IMLoginRes; MS→C
	LogoutReq          Command = 0x0105 // IM.Login.IMLogoutReq; C→MS
	LogoutRes          Command = 0x0106 // IM.Login.IMLogoutRsp; MS→C
	KickUser           Command = 0x0107 // IM.Login.IMKickUser; MS→C
	DeviceTokenReq     Command = 0x0108 // IM.Login.IMDeviceTokenReq; C→MS→DB
	DeviceTokenRes     Command = 0x0109 // IM.Login.IMDeviceTokenRsp; MS→C (sent with an empty body)
	KickPCReq          Command = 0x010A // IM.Login.IMKickPCClientReq; C (mobile)→MS
	KickPCRes          Command = 0x010B // IM.Login.IMKickPCClientRsp; MS→C
	PushShieldReq      Command = 0x010C // IM.Login.IMPushShieldReq; C→MS→DB
	PushShieldRes      Command = 0x010D // IM.Login.IMPushShieldRsp; DB→MS→C
	QueryPushShieldReq Command = 0x010E // IM.Login.IMQueryPushShieldReq; C→MS→DB
	QueryPushShieldRes Command = 0x010F // IM.Login.IMQueryPushShieldRsp; DB→MS→C
)

// SID_BUDDY_LIST: sessions, users, departments, presence.
const (
	RecentSessionsReq     Command = 0x0201 // IM.Buddy.IMRecentContactSessionReq; C→MS→DB (login pool)
	RecentSessionsRes     Command = 0x0202 // IM.Buddy.IMRecentContactSessionRsp; DB→MS→C
	StatusNotify          Command = 0x0203 // IM.Buddy.IMUserStatNotify; RS→every MS→every PC-type connection
	UserInfoReq           Command = 0x0204 // IM.Buddy.IMUsersInfoReq; C→MS→DB (login pool)
	UserInfoRes           Command = 0x0205 // IM.Buddy.IMUsersInfoRsp; DB→MS→C
	RemoveSessionReq      Command = 0x0206 // IM.Buddy.IMRemoveSessionReq; C→MS→DB
	RemoveSessionRes      Command = 0x0207 // IM.Buddy.IMRemoveSessionRsp; DB→MS→C
	AllUsersReq           Command = 0x0208 // IM.Buddy.IMAllUserReq; C→MS→DB
	AllUsersRes           Command = 0x0209 // IM.Buddy.IMAllUserRsp; DB→MS→C
	UsersStatusReq        Command = 0x020A // IM.Buddy.IMUsersStatReq; C→MS→RS (master)
	UsersStatusRes        Command = 0x020B // IM.Buddy.IMUsersStatRsp; RS→MS(→C)
	ChangeAvatarReq       Command = 0x020C // IM.Buddy.IMChangeAvatarReq; C→MS→DB
	ChangeAvatarRes       Command = 0x020D // IM.Buddy.IMChangeAvatarRsp; (DB→MS→all own connections)
	PCLoginStatusNotify   Command = 0x020E // IM.Buddy.IMPCLoginStatusNotify; MS→C (mobile connections of that user)
	RemoveSessionNotify   Command = 0x020F // IM.Buddy.IMRemoveSessionNotify; MS→other own C
	DepartmentsReq        Command = 0x0210 // IM.Buddy.IMDepartmentReq; C→MS→DB
	DepartmentsRes        Command = 0x0211 // IM.Buddy.IMDepartmentRsp; DB→MS→C
	AvatarChangedNotify   Command = 0x0212 // IM.Buddy.IMAvatarChangedNotify; meant server→C
	ChangeSignInfoReq     Command = 0x0213 // IM.Buddy.IMChangeSignInfoReq; C→MS→DB
	ChangeSignInfoRes     Command = 0x0214 // IM.Buddy.IMChangeSignInfoRsp; DB→MS→C
	SignInfoChangedNotify Command = 0x0215 // IM.Buddy.IMSignInfoChangedNotify; MS→RS→every MS, incl. origin→all C
)

// SID_MSG: messages, read state, history.
const (
	MsgData        Command = 0x0301 // IM.Message.IMMsgData; C→MS→DB→MS→{receiver C, sender's other C, RS→other MS→C}
	MsgDataAck     Command = 0x0302 // IM.Message.IMMsgDataAck; MS→C (to sender, echo seq)
	MsgReadAck     Command = 0x0303 // IM.Message.IMMsgDataReadAck; C→MS→DB
	MsgReadNotify  Command = 0x0304 // IM.Message.IMMsgDataReadNotify; MS→own other C
	TimeReq        Command = 0x0305 // IM.Message.IMClientTimeReq; C→MS
	TimeRes        Command = 0x0306 // IM.Message.IMClientTimeRsp; MS→C
	UnreadCountReq Command = 0x0307 // IM.Message.IMUnreadMsgCntReq; C→MS→DB (login pool)
	UnreadCountRes Command = 0x0308 // IM.Message.IMUnreadMsgCntRsp; DB→MS→C
	MsgListReq     Command = 0x0309 // IM.Message.IMGetMsgListReq; C→MS→DB (login pool)
	MsgListRes     Command = 0x030A // IM.Message.IMGetMsgListRsp; DB→MS→C
	LatestMsgIDReq Command = 0x030B // IM.Message.IMGetLatestMsgIdReq; C→MS→DB
	LatestMsgIDRes Command = 0x030C // IM.Message.IMGetLatestMsgIdRsp; DB→MS→C
	MsgByIDReq     Command = 0x030D // IM.Message.IMGetMsgByIdReq; C→MS→DB (login pool)
	MsgByIDRes     Command = 0x030E // IM.Message.IMGetMsgByIdRsp; DB→MS→C
)

// SID_GROUP: groups and members.
const (
	GroupListReq            Command = 0x0401 // IM.Group.IMNormalGroupListReq; C→MS→DB
	GroupListRes            Command = 0x0402 // IM.Group.IMNormalGroupListRsp; DB→MS→C
	GroupInfoReq            Command = 0x0403 // IM.Group.IMGroupInfoListReq; C→MS→DB
	GroupInfoRes            Command = 0x0404 // IM.Group.IMGroupInfoListRsp; DB→MS(→C)
	GroupCreateReq          Command = 0x0405 // IM.Group.IMGroupCreateReq; C→MS→DB
	GroupCreateRes          Command = 0x0406 // IM.Group.IMGroupCreateRsp; DB→MS→C
	GroupChangeMemberReq    Command = 0x0407 // IM.Group.IMGroupChangeMemberReq; C→MS→DB
	GroupChangeMemberRes    Command = 0x0408 // IM.Group.IMGroupChangeMemberRsp; DB→MS→C
	GroupShieldReq          Command = 0x0409 // IM.Group.IMGroupShieldReq; C→MS→DB
	GroupShieldRes          Command = 0x040A // IM.Group.IMGroupShieldRsp; DB→MS→C
	GroupChangeMemberNotify Command = 0x040B // IM.Group.IMGroupChangeMemberNotify; MS→C
)

// SID_FILE: file transfer.
const (
	FileLoginReq      Command = 0x0501 // IM.File.IMFileLoginReq; C→FS
	FileLoginRes      Command = 0x0502 // IM.File.IMFileLoginRsp; FS→C
	FileState         Command = 0x0503 // IM.File.IMFileState; C→FS→peer C
	FilePullDataReq   Command = 0x0504 // IM.File.IMFilePullDataReq; online: receiver C→FS→sender C
	FilePullDataRes   Command = 0x0505 // IM.File.IMFilePullDataRsp; online: sender C→FS→receiver C
	FileReq           Command = 0x0506 // IM.File.IMFileReq; C→MS
	FileRes           Command = 0x0507 // IM.File.IMFileRsp; MS→C
	FileNotify        Command = 0x0508 // IM.File.IMFileNotify; MS→target C (PC types locally)
	FileHasOfflineReq Command = 0x0509 // IM.File.IMFileHasOfflineReq; C→MS→DB
	FileHasOfflineRes Command = 0x050A // IM.File.IMFileHasOfflineRsp; DB→MS→C
	FileAddOfflineReq Command = 0x050B // IM.File.IMFileAddOfflineReq; C→MS→DB
	FileDelOfflineReq Command = 0x050C // IM.File.IMFileDelOfflineReq; C→MS→DB
)

// SID_SWITCH_SERVICE: commands from user to user.
const (
	P2PCommand Command = 0x0601 // IM.SwitchService.IMP2PCmdMsg; C→MS→{own other C, target C, RS→other MS→both users' C}
)

// SID_OTHER: the heartbeat, and everything between servers.
const (
	Heartbeat          Command = 0x0701 // IM.Other.IMHeartBeat; every connection
	StopReceive        Command = 0x0702 // IM.Server.IMStopReceivePacket; DB→MS, DB→HS (on SIGTERM)
	ValidateReq        Command = 0x0703 // IM.Server.IMValidateReq; MS→DB
	ValidateRes        Command = 0x0704 // IM.Server.IMValidateRsp; DB→MS
	DeviceTokensReq    Command = 0x0705 // IM.Server.IMGetDeviceTokenReq; MS→DB
	DeviceTokensRes    Command = 0x0706 // IM.Server.IMGetDeviceTokenRsp; DB→MS
	RoleSet            Command = 0x0707 // IM.Server.IMRoleSet; MS→RS, HS→RS
	OnlineUserInfo     Command = 0x0708 // IM.Server.IMOnlineUserInfo; MS→RS, once after connecting
	MsgServerInfo      Command = 0x0709 // IM.Server.IMMsgServInfo; MS→LS, once after connecting
	UserStatusUpdate   Command = 0x070A // IM.Server.IMUserStatusUpdate; MS→every RS
	UserCountUpdate    Command = 0x070B // IM.Server.IMUserCntUpdate; MS→every LS
	ServerKickUser     Command = 0x070D // IM.Server.IMServerKickUser; MS→RS→other MS
	PCLoginStatus      Command = 0x070E // IM.Server.IMServerPCLoginStatusNotify; RS→every MS
	PushToUserReq      Command = 0x070F // IM.Server.IMPushToUserReq; MS→PS
	PushToUserRes      Command = 0x0710 // IM.Server.IMPushToUserRsp; PS→MS
	GroupShieldsReq    Command = 0x0711 // IM.Server.IMGroupGetShieldReq; MS→DB
	GroupShieldsRes    Command = 0x0712 // IM.Server.IMGroupGetShieldRsp; DB→MS
	FileTransferReq    Command = 0x0731 // IM.Server.IMFileTransferReq; MS→FS
	FileTransferRes    Command = 0x0732 // IM.Server.IMFileTransferRsp; FS→MS
	FileServerAddrsReq Command = 0x0733 // IM.Server.IMFileServerIPReq; MS→FS, once after connecting
	FileServerAddrsRes Command = 0x0734 // IM.Server.IMFileServerIPRsp; FS→MS
)

// Extensions, sent only to peers that announced the capability.
const (
	MoveServer   Command = 0x0181 // IM.Extension.IMMoveServer; msg_server to client: connect elsewhere
	MsgNack      Command = 0x0381 // IM.Extension.IMMsgNack; msg_server to client, seq echoed: not stored
	MsgDelivered Command = 0x0382 // IM.Extension.IMMsgDelivered; client to msg_server: cumulative receipt
	MsgGap       Command = 0x0383 // IM.Extension.IMMsgGap; msg_server to client: messages that are not pushed

	FileTokenReq   Command = 0x0581 // IM.Extension.IMFileTokenReq; client to msg_server: let me send or fetch a file
	FileTokenRes   Command = 0x0582 // IM.Extension.IMFileTokenRsp; msg_server to client
	FileReady      Command = 0x0583 // IM.Extension.IMFileReady; msg_server to clients: the file of a message is complete
	FileServerInfo Command = 0x0584 // IM.Extension.IMFileServerInfo; file_server to msg_server, once after connecting
	FileStored     Command = 0x0585 // IM.Extension.IMFileStored; file_server to msg_server: store its message
	FileStoredAck  Command = 0x0586 // IM.Extension.IMFileStoredAck; msg_server to file_server
	FileMoved      Command = 0x0587 // IM.Extension.IMFileMoved; file_server to msg_server to clients: how far a file is
	FileTaskReq    Command = 0x058A // IM.Extension.IMFileTaskReq; msg_server to file_server: an off-line file
	FileTaskRes    Command = 0x058B // IM.Extension.IMFileTaskRsp; file_server to msg_server
	FileTaskDelete Command = 0x058C // IM.Extension.IMFileTaskDelete; msg_server to file_server

	Hello      Command = 0x0781 // IM.Extension.IMHello; between our servers, after a marked heartbeat
	HelloProof Command = 0x0782 // IM.Extension.IMHelloProof; between our servers: proof of the shared secret
	Relay      Command = 0x0783 // IM.Extension.IMRelay; msg_server to route_server to msg_server
)

// What http_msg_server asks for its API: db_proxy but for presence, which
// route_server answers. Only to peers with the capability "api".
const (
	APIKeyReq      Command = 0x07A0 // IM.Extension.IMApiKeyReq; HS→DB
	APIKeyRes      Command = 0x07A1 // IM.Extension.IMApiKeyRsp; DB→HS
	APIUsersReq    Command = 0x07A2 // IM.Extension.IMApiUsersReq; HS→DB
	APIUsersRes    Command = 0x07A3 // IM.Extension.IMApiUsersRsp; DB→HS
	APIUserSaveReq Command = 0x07A4 // IM.Extension.IMApiUserSaveReq; HS→DB
	APIUserSaveRes Command = 0x07A5 // IM.Extension.IMApiUserSaveRsp; DB→HS
	APIGroupsReq   Command = 0x07A6 // IM.Extension.IMApiGroupsReq; HS→DB
	APIGroupsRes   Command = 0x07A7 // IM.Extension.IMApiGroupsRsp; DB→HS
	APIHistoryReq  Command = 0x07A8 // IM.Extension.IMApiHistoryReq; HS→DB
	APIHistoryRes  Command = 0x07A9 // IM.Extension.IMApiHistoryRsp; DB→HS
	APIAuditReq    Command = 0x07AA // IM.Extension.IMApiAuditReq; HS→DB
	APIAuditRes    Command = 0x07AB // IM.Extension.IMApiAuditRsp; DB→HS
	APIPresenceReq Command = 0x07AC // IM.Extension.IMApiPresenceReq; HS→RS
	APIPresenceRes Command = 0x07AD // IM.Extension.IMApiPresenceRsp; RS→HS
	APIClaimReq    Command = 0x07B0 // IM.Extension.IMApiClaimReq; HS→DB
	APIClaimRes    Command = 0x07B1 // IM.Extension.IMApiClaimRsp; DB→HS
	APIEndReq      Command = 0x07B2 // IM.Extension.IMApiEndReq; HS→DB
	APIEndRes      Command = 0x07B3 // IM.Extension.IMApiEndRsp; DB→HS
	PushTokensGone Command = 0x07AE // IM.Extension.IMPushTokensGone; MS→DB, HS→DB: devices that get no pushes any more
)

// Delivery cursors. Only to peers with the capability "delivery".
const (
	TerminalReq     Command = 0x0790 // IM.Extension.IMTerminalReq; MS→DB, log-in of a terminal with delivery cursors
	TerminalRes     Command = 0x0791 // IM.Extension.IMTerminalRsp; DB→MS
	BacklogReq      Command = 0x0792 // IM.Extension.IMBacklogReq; MS→DB
	BacklogRes      Command = 0x0793 // IM.Extension.IMBacklogRsp; DB→MS
	DeliveryCursors Command = 0x0794 // IM.Extension.IMDeliveryCursors; MS→DB, never answered
	UserClosed      Command = 0x0795 // IM.Extension.IMUserClosed; DB→MS
	StorageSeen     Command = 0x0796 // IM.Extension.IMStorageSeen; MS→DB
	StorageState    Command = 0x0797 // IM.Extension.IMStorageState; DB→MS
)

// names maps every command to its name, for logs, metrics and docs/protocol.md.
var names = map[Command]string{
	MsgServerReq:            "MsgServerReq",
	MsgServerRes:            "MsgServerRes",
	LoginReq:                "LoginReq",
	LoginRes:                "LoginRes",
	LogoutReq:               "LogoutReq",
	LogoutRes:               "LogoutRes",
	KickUser:                "KickUser",
	DeviceTokenReq:          "DeviceTokenReq",
	DeviceTokenRes:          "DeviceTokenRes",
	KickPCReq:               "KickPCReq",
	KickPCRes:               "KickPCRes",
	PushShieldReq:           "PushShieldReq",
	PushShieldRes:           "PushShieldRes",
	QueryPushShieldReq:      "QueryPushShieldReq",
	QueryPushShieldRes:      "QueryPushShieldRes",
	MoveServer:              "MoveServer",
	RecentSessionsReq:       "RecentSessionsReq",
	RecentSessionsRes:       "RecentSessionsRes",
	StatusNotify:            "StatusNotify",
	UserInfoReq:             "UserInfoReq",
	UserInfoRes:             "UserInfoRes",
	RemoveSessionReq:        "RemoveSessionReq",
	RemoveSessionRes:        "RemoveSessionRes",
	AllUsersReq:             "AllUsersReq",
	AllUsersRes:             "AllUsersRes",
	UsersStatusReq:          "UsersStatusReq",
	UsersStatusRes:          "UsersStatusRes",
	ChangeAvatarReq:         "ChangeAvatarReq",
	ChangeAvatarRes:         "ChangeAvatarRes",
	PCLoginStatusNotify:     "PCLoginStatusNotify",
	RemoveSessionNotify:     "RemoveSessionNotify",
	DepartmentsReq:          "DepartmentsReq",
	DepartmentsRes:          "DepartmentsRes",
	AvatarChangedNotify:     "AvatarChangedNotify",
	ChangeSignInfoReq:       "ChangeSignInfoReq",
	ChangeSignInfoRes:       "ChangeSignInfoRes",
	SignInfoChangedNotify:   "SignInfoChangedNotify",
	MsgData:                 "MsgData",
	MsgDataAck:              "MsgDataAck",
	MsgReadAck:              "MsgReadAck",
	MsgReadNotify:           "MsgReadNotify",
	TimeReq:                 "TimeReq",
	TimeRes:                 "TimeRes",
	UnreadCountReq:          "UnreadCountReq",
	UnreadCountRes:          "UnreadCountRes",
	MsgListReq:              "MsgListReq",
	MsgListRes:              "MsgListRes",
	LatestMsgIDReq:          "LatestMsgIDReq",
	LatestMsgIDRes:          "LatestMsgIDRes",
	MsgByIDReq:              "MsgByIDReq",
	MsgByIDRes:              "MsgByIDRes",
	MsgNack:                 "MsgNack",
	MsgDelivered:            "MsgDelivered",
	MsgGap:                  "MsgGap",
	GroupListReq:            "GroupListReq",
	GroupListRes:            "GroupListRes",
	GroupInfoReq:            "GroupInfoReq",
	GroupInfoRes:            "GroupInfoRes",
	GroupCreateReq:          "GroupCreateReq",
	GroupCreateRes:          "GroupCreateRes",
	GroupChangeMemberReq:    "GroupChangeMemberReq",
	GroupChangeMemberRes:    "GroupChangeMemberRes",
	GroupShieldReq:          "GroupShieldReq",
	GroupShieldRes:          "GroupShieldRes",
	GroupChangeMemberNotify: "GroupChangeMemberNotify",
	FileLoginReq:            "FileLoginReq",
	FileLoginRes:            "FileLoginRes",
	FileState:               "FileState",
	FilePullDataReq:         "FilePullDataReq",
	FilePullDataRes:         "FilePullDataRes",
	FileReq:                 "FileReq",
	FileRes:                 "FileRes",
	FileNotify:              "FileNotify",
	FileHasOfflineReq:       "FileHasOfflineReq",
	FileHasOfflineRes:       "FileHasOfflineRes",
	FileAddOfflineReq:       "FileAddOfflineReq",
	FileDelOfflineReq:       "FileDelOfflineReq",
	FileTokenReq:            "FileTokenReq",
	FileTokenRes:            "FileTokenRes",
	FileReady:               "FileReady",
	FileServerInfo:          "FileServerInfo",
	FileStored:              "FileStored",
	FileStoredAck:           "FileStoredAck",
	FileMoved:               "FileMoved",
	FileTaskReq:             "FileTaskReq",
	FileTaskRes:             "FileTaskRes",
	FileTaskDelete:          "FileTaskDelete",
	P2PCommand:              "P2PCommand",
	Heartbeat:               "Heartbeat",
	StopReceive:             "StopReceive",
	ValidateReq:             "ValidateReq",
	ValidateRes:             "ValidateRes",
	DeviceTokensReq:         "DeviceTokensReq",
	DeviceTokensRes:         "DeviceTokensRes",
	RoleSet:                 "RoleSet",
	OnlineUserInfo:          "OnlineUserInfo",
	MsgServerInfo:           "MsgServerInfo",
	UserStatusUpdate:        "UserStatusUpdate",
	UserCountUpdate:         "UserCountUpdate",
	ServerKickUser:          "ServerKickUser",
	PCLoginStatus:           "PCLoginStatus",
	PushToUserReq:           "PushToUserReq",
	PushToUserRes:           "PushToUserRes",
	GroupShieldsReq:         "GroupShieldsReq",
	GroupShieldsRes:         "GroupShieldsRes",
	FileTransferReq:         "FileTransferReq",
	FileTransferRes:         "FileTransferRes",
	FileServerAddrsReq:      "FileServerAddrsReq",
	FileServerAddrsRes:      "FileServerAddrsRes",
	Hello:                   "Hello",
	HelloProof:              "HelloProof",
	Relay:                   "Relay",
	APIKeyReq:               "APIKeyReq",
	APIKeyRes:               "APIKeyRes",
	APIUsersReq:             "APIUsersReq",
	APIUsersRes:             "APIUsersRes",
	APIUserSaveReq:          "APIUserSaveReq",
	APIUserSaveRes:          "APIUserSaveRes",
	APIGroupsReq:            "APIGroupsReq",
	APIGroupsRes:            "APIGroupsRes",
	APIHistoryReq:           "APIHistoryReq",
	APIHistoryRes:           "APIHistoryRes",
	APIAuditReq:             "APIAuditReq",
	APIAuditRes:             "APIAuditRes",
	APIPresenceReq:          "APIPresenceReq",
	APIPresenceRes:          "APIPresenceRes",
	APIClaimReq:             "APIClaimReq",
	APIClaimRes:             "APIClaimRes",
	APIEndReq:               "APIEndReq",
	APIEndRes:               "APIEndRes",
	PushTokensGone:          "PushTokensGone",
	TerminalReq:             "TerminalReq",
	TerminalRes:             "TerminalRes",
	BacklogReq:              "BacklogReq",
	BacklogRes:              "BacklogRes",
	DeliveryCursors:         "DeliveryCursors",
	UserClosed:              "UserClosed",
	StorageSeen:             "StorageSeen",
	StorageState:            "StorageState",
}

// String returns the name of the command, or "unknown".
// The result has bounded cardinality: it serves as a metric label.
func (c Command) String() string {
	if name, ok := names[c]; ok {
		return name
	}
	return "unknown"
}

// Commands returns every known command id, unsorted.
func Commands() []Command {
	all := make([]Command, 0, len(names))
	for command := range names {
		all = append(all, command)
	}
	return all
}
