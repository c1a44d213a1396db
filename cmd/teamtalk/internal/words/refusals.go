package words

// ID names a text of the tables.
type ID int

// What goes wrong between a client and its servers.
const (
	NoWords ID = iota // never said

	WrongPassword
	NoMsgServer
	MsgServersFull
	NoDatabase
	NoLoginServer
	NoRouteServer
	ClientTooOld
	LoginRefused
	Kicked
	KickedFromPhone
	ServerMoved

	Fault
	BadRequest
	NotAllowed
	NotThere
	ServerBusy
	ServerAway
	ContentTooLarge
	RefusedCode
	MessageRefused

	NoAnswer
	NotConnected
	ConnectionLost
	ConnectionClosed
	ConnectionRefused
	ConnectionReset
	HostUnreachable
	NoSuchHost
	NotALoginServer
	Uncertain
	QueueFull
	WrongReply
	TextTooLong
	OutboxFull
	Stopped

	NoFileServer
	FileRefused
	FileDenied
	FileGone
	FileQuota
	FileTooLarge
	FileUndeliverable
	FileChanged
	FileDamaged
	FileExists
	FileSilence
	NoFileFound
	DiskFull
	ServerDiskFull
	NoSuchFile
	NoPermission
	IsFolder
	NotRegular
	FileTrouble
	ReadPasswordFile

	NoUser
	NobodyCalled
	NoGroupCalled
	NotFetchedYet
	Paused
	Unsent
	PasswordFor
	NeverOnline
	NoTerminal
	ScreenFailed
	NoData
	UserExists
	UsersExist
	GroupExists
	DatabaseSays

	UserMissing
	PasswordMissing
	PasswordEmpty
	PasswordFileEmpty
	PasswordTooLong
	BadAddr
	BadLogin
	EitherPeer
	WaitForGroup
	UnknownCommand
	UnknownCommandMeant
	UnknownFlag
	UnknownFlagMeant
	FlagNeedsValue
	BadFlagValue
	BadArguments
	SayWhat
	DataOrConfig
	NickNeedsName
	NameOrPrefix
	NameEmpty
	NameBlanks
	NameTooLong
	NickTooLong
	NotText
	GiveName
	BadCount
	GroupType
	GroupNeeds

	refusalsEnd
)

// refusals are their words. %[1]s and the like follow the arguments of Say.
var refusals = map[ID][languages]string{
	WrongPassword:  {"log-in refused: wrong name or password, or the account is disabled", "登录被拒绝：用户名或密码错误，或帐号已停用"},
	NoMsgServer:    {"log-in refused: no chat server is running; try again later", "登录被拒绝：没有正在运行的消息服务器，请稍后再试"},
	MsgServersFull: {"log-in refused: the chat servers are full; try again later", "登录被拒绝：所有消息服务器都已满员，请稍后再试"},
	NoDatabase:     {"log-in refused for now: the server has no connection to its database", "暂时无法登录：服务器没有连上数据库"},
	NoLoginServer: {
		"log-in refused for now: the server is not connected to its log-in service",
		"暂时无法登录：服务器没有连上登录服务器",
	},
	NoRouteServer:     {"log-in refused for now: the server is not connected to the other servers", "暂时无法登录：服务器没有连上路由服务器"},
	ClientTooOld:      {"log-in refused: the server wants a newer version of this program", "登录被拒绝：服务器要求更新版本的程序"},
	LoginRefused:      {"log-in refused by the server for a reason this program does not know (%d)", "登录被服务器拒绝，原因未知（%d）"},
	Kicked:            {"logged in elsewhere", "帐号已在别处登录"},
	KickedFromPhone:   {"logged off from the phone", "已被手机端下线"},
	ServerMoved:       {"the server asks to connect elsewhere", "服务器要求连接到别的服务器"},
	Fault:             {"something went wrong in the server; try again", "服务器内部出错，请重试"},
	BadRequest:        {"the server cannot do this as it was asked", "请求无效，服务器无法处理"},
	NotAllowed:        {"you may not do this, or not in this conversation", "没有权限，或不属于这个会话"},
	NotThere:          {"the user, group or message does not exist", "用户、群或消息不存在"},
	ServerBusy:        {"the server is busy; try again", "服务器繁忙，请重试"},
	ServerAway:        {"a part of the server is away; try again", "服务器的一部分暂时不可用，请重试"},
	ContentTooLarge:   {"larger than the server takes", "内容超过服务器允许的大小"},
	RefusedCode:       {"refused by the server (%d)", "被服务器拒绝（%d）"},
	MessageRefused:    {"not taken by the server: %s", "服务器未接收：%s"},
	NoAnswer:          {"no answer from the server", "服务器没有应答"},
	NotConnected:      {"not connected", "未连接"},
	ConnectionLost:    {"the server stopped answering", "服务器停止应答"},
	ConnectionClosed:  {"the server closed the connection", "服务器关闭了连接"},
	ConnectionRefused: {"nobody answers at %s: connection refused", "%s 无应答：连接被拒绝"},
	ConnectionReset:   {"the connection to %s broke", "与 %s 的连接中断"},
	HostUnreachable:   {"%s cannot be reached from here", "无法到达 %s"},
	NoSuchHost:        {"there is no host called %s", "找不到主机 %s"},
	NotALoginServer:   {"what answers there is no login_server; look at --login", "该地址不是登录服务器，请检查 --login"},
	Uncertain:         {"connection lost; it may have arrived", "连接已断开，消息可能已送达"},
	QueueFull:         {"too much waits for the server; try again", "等待发送的内容过多，请重试"},
	WrongReply:        {"the server's answer makes no sense", "服务器的应答无法理解"},
	TextTooLong:       {"text empty or too long", "文本为空或过长"},
	OutboxFull:        {"too many unsent messages; wait a little", "未发送的消息过多，请稍候"},
	Stopped:           {"stopped; the same command goes on", "已停止，重复同一命令可继续"},
	NoFileServer:      {"this server takes no files of messages", "此服务器不支持消息文件"},
	FileRefused:       {"the server does not take or give this file (%s)", "服务器拒绝了这个文件（%s）"},
	FileDenied:        {"refused: nobody you can write to, or no group of yours", "被拒绝：不能给对方发消息，或不在这个群里"},
	FileGone:          {"refused: there is no such file here, or not any more", "被拒绝：文件不存在或已被删除"},
	FileQuota:         {"refused: your files on the server would be too many or too large", "被拒绝：你在服务器上的文件过多或过大"},
	FileTooLarge:      {"refused: too large", "被拒绝：文件过大"},
	FileUndeliverable: {"it has arrived, but the receiver cannot be written to", "文件已上传，但无法发给接收者"},
	FileChanged:       {"the file changed while it was sent; send it again", "文件在发送过程中被修改，请重新发送"},
	FileDamaged:       {"what came is damaged and was removed; begin again", "收到的内容已损坏并被删除，请重新获取"},
	FileExists:        {"%s exists; nothing is overwritten", "%s 已存在，不会覆盖"},
	FileSilence:       {"given up after %s without a byte: %s", "%s 内没有任何数据，已放弃：%s"},
	NoFileFound:       {"no such file among the newest messages", "最近的消息里没有这个文件"},
	DiskFull:          {"no space left on this disk; free some, and the same command goes on", "本机磁盘已满，腾出空间后重复同一命令可继续"},
	ServerDiskFull:    {"no space left on the server; the same command goes on later", "服务器磁盘已满，稍后重复同一命令可继续"},
	NoSuchFile:        {"%s: no such file or folder", "%s：文件或目录不存在"},
	NoPermission:      {"%s: permission denied", "%s：没有权限"},
	IsFolder:          {"%s is a folder", "%s 是目录"},
	NotRegular:        {"%s is not a regular file", "%s 不是普通文件"},
	FileTrouble:       {"%s: %s", "%s：%s"},
	ReadPasswordFile:  {"read password file: %s", "读取密码文件：%s"},

	NoUser:        {"no user %q", "没有用户 %q"},
	NobodyCalled:  {"nobody is called %q", "没有人叫 %q"},
	NoGroupCalled: {"you are in no group called %q", "你不在名为 %q 的群里"},
	NotFetchedYet: {"%s is sent; %s has not fetched it yet", "%s 已发送，%s 还没有下载"},
	Paused:        {"paused; the same command goes on", "已暂停，重复同一命令可继续"},
	Unsent:        {"not every message was sent: %d left", "有消息未发送：剩余 %d 条"},
	NeverOnline:   {"no log-in within %s; lines of input that were not taken: %d", "%s 内未能登录；未处理的输入：%d 行"},
	PasswordFor:   {"Password for %s: ", "%s 的密码："},
	NoTerminal:    {"chat needs a terminal; without one, use chat --plain", "chat 需要终端；没有终端时请用 chat --plain"},
	ScreenFailed:  {"the terminal cannot show the chat (%s); chat --plain needs less", "终端无法显示聊天界面（%s），请改用 chat --plain"},
	NoData:        {"there is no data in %s: use --data or --config", "%s 中没有数据：请用 --data 或 --config"},
	UserExists:    {"user %s exists; left alone", "用户 %s 已存在，未作修改"},
	UsersExist:    {"%d of %d accounts existed; left alone", "%[2]d 个帐号中有 %[1]d 个已存在，未作修改"},
	GroupExists:   {"group %s exists; left alone", "群 %s 已存在，未作修改"},
	DatabaseSays:  {"%.0[1]s%[2]s", "%[1]s（%[2]s）"},

	UserMissing:       {"%s: --user is missing", "%s：缺少 --user"},
	PasswordMissing:   {"no password: use %s", "没有密码：请用 %s"},
	PasswordEmpty:     {"no password given", "没有输入密码"},
	PasswordFileEmpty: {"the password file %s is empty", "密码文件 %s 是空的"},
	PasswordTooLong:   {"longer than %d bytes", "超过 %d 字节"},
	BadAddr:           {"--addr takes HOST:PORT, not %q", "--addr 应为 HOST:PORT，而不是 %q"},
	BadLogin: {
		"--login takes a URL such as http://HOST:8080/msg_server, not %q",
		"--login 应为 URL，例如 http://HOST:8080/msg_server，而不是 %q",
	},
	EitherPeer:          {"%s: either --%s or --group", "%s：请用 --%s 或 --group 中的一个"},
	WaitForGroup:        {"send: --wait is for one receiver, not for a group", "send：--wait 只用于单个接收者，不用于群"},
	UnknownCommand:      {"unknown command %q for %q; %[2]s --help lists them", "%[2]q 没有命令 %[1]q；%[2]s --help 列出全部命令"},
	UnknownCommandMeant: {"unknown command %q for %q; did you mean %s?", "%[2]q 没有命令 %[1]q；你是想用 %[3]s 吗？"},
	UnknownFlag:         {"unknown flag: %s; see %s --help", "没有选项 %s；参见 %s --help"},
	UnknownFlagMeant:    {"unknown flag: %s; did you mean %s?", "没有选项 %s；你是想用 %s 吗？"},
	FlagNeedsValue:      {"%s needs a value; see %s --help", "%s 需要一个值；参见 %s --help"},
	BadFlagValue:        {"%s cannot be %q; see %s --help", "%s 不能是 %q；参见 %s --help"},
	BadArguments:        {"wrong arguments for %s; usage: %s", "%s 的参数不对；用法：%s"},
	SayWhat:             {"%s: say what to do; see %s --help", "%s：请说明要做什么；参见 %s --help"},
	DataOrConfig:        {"--data and --config exclude each other", "--data 与 --config 不能同时使用"},
	NickNeedsName:       {"user add: --nick goes with a NAME", "user add：--nick 只能与 NAME 一起使用"},
	NameOrPrefix:        {"user add: NAME and --prefix exclude each other", "user add：NAME 与 --prefix 不能同时使用"},
	NameEmpty:           {"%s: the NAME is empty", "%s：NAME 是空的"},
	NameBlanks:          {"%s: the name %q begins or ends with a blank", "%s：名字 %q 的开头或结尾有空格"},
	NameTooLong:         {"%s: the name %q has more than %d characters", "%s：名字 %q 超过 %d 个字符"},
	NickTooLong:         {"%s: the nick %q has more than %d characters", "%s：昵称 %q 超过 %d 个字符"},
	NotText:             {"%s: %q is not UTF-8", "%s：%q 不是 UTF-8"},
	GiveName:            {"user add: give a NAME, or --prefix and --count", "user add：请给出 NAME，或 --prefix 与 --count"},
	BadCount: {
		"user add: --count must be 1 to %d and --from not negative",
		"user add：--count 须为 1 到 %d，--from 不能为负",
	},
	GroupType:  {"group add: --type is normal or tmp", "group add：--type 为 normal 或 tmp"},
	GroupNeeds: {"group add: a group needs a NAME and --members", "group add：群需要 NAME 和 --members"},
}
