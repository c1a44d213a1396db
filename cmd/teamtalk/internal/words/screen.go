package words

// What the chat screen says.
const (
	Groups ID = refusalsEnd + iota
	You
	Online
	Offline
	Connecting
	Loading
	Reconnecting
	Members
	PressToTakeBack
	PressToRetry
	LinesBelow
	UnreadIn
	HelpHint
	HelpCloses
	MoreHint
	TooSmall
	WelcomeOpen
	WelcomeKeys
	WelcomeNobody
	LoadsOlder
	LoadingOlder
	Beginning
	LongDate
	ShortDate
	GetFetches

	InputHint
	TypingSize
	TypingParts
	TooMuchPasted
	AskSplit
	AskSplitOnly
	LineSkipped
	TooLongToSend

	NoCommand
	NoCommandMeant
	CommandTakes
	NoneChosen
	PathUnclosed
	NoPathLike

	FileMoving
	FileIsSent
	FileIsFetched
	PeerSent
	PeerSending
	PeerHas
	PeerFetching
	FarOf
	TroubleOf
	LoadContacts
	LoadHistory
	LoadMissed
	SendTrouble
	FileOf

	DetailsTitle
	DetailsNews
	DetailsNothing
	HelpTitle
	HelpTab
	HelpArrows
	HelpEnter
	HelpSearch
	HelpPages
	HelpEsc
	HelpUnread
	HelpRetry
	HelpBreak
	HelpEdit
	HelpCommands
	HelpEscape
	HelpDetails
	HelpHelp
	HelpLeave
	HelpMarks
	HelpPresence

	textsEnd
)

var screens = map[ID][languages]string{
	Groups:          {"Groups", "群"},
	You:             {"You", "我"},
	Online:          {"online", "在线"},
	Offline:         {"offline", "离线"},
	Connecting:      {"connecting", "正在连接"},
	Loading:         {"loading", "正在加载"},
	Reconnecting:    {"%s; reconnecting", "%s；正在重连"},
	Members:         {"%d members", "%d 名成员"},
	PressToTakeBack: {"%s: Enter takes the session back, Ctrl-C leaves", "%s：按 Enter 重新登录，按 Ctrl-C 退出"},
	PressToRetry:    {"✗ press ctrl-r (%s)", "✗ 按 ctrl-r 重发（%s）"},
	LinesBelow:      {" %d lines below, Esc shows them ", " 下面还有 %d 行，按 Esc 查看 "},
	UnreadIn:        {"%d unread in %d", "%[2]d 个会话有 %[1]d 条未读"},
	HelpHint:        {"F1 help ", "F1 帮助 "},
	HelpCloses:      {"arrows scroll, Esc closes ", "方向键滚动，Esc 关闭 "},
	MoreHint:        {"F2 all ", "F2 全文 "},
	TooSmall:        {"too small", "窗口太小"},
	WelcomeOpen:     {"Enter opens a conversation", "按 Enter 打开会话"},
	WelcomeKeys:     {"/ searches, F1 shows all keys", "按 / 搜索，按 F1 查看按键"},
	WelcomeNobody:   {"Nobody else has an account yet", "还没有其他人有帐号"},
	LoadsOlder:      {"PgUp loads older messages", "按 PgUp 加载更早的消息"},
	LoadingOlder:    {"loading…", "正在加载…"},
	Beginning:       {"beginning of the conversation", "会话的开始"},
	LongDate:        {" Monday, 2 January 2006 ", " 2006年1月2日 "},
	ShortDate:       {" 2006-01-02 ", " 2006-01-02 "},
	GetFetches:      {"%s  :get fetches it", "%s  :get 可下载"},

	InputHint:     {"write a message, or :help", "输入消息，或 :help"},
	TypingSize:    {" %s characters ", " %s 个字符 "},
	TypingParts:   {" %s characters: %d messages ", " %s 个字符：%d 条消息 "},
	TooMuchPasted: {"too long to paste (%s): save it in a file and send that with :file", "粘贴的内容太长（%s）：请保存为文件后用 :file 发送"},
	AskSplit: {
		"%s characters fit no single message. Enter: send %d messages. f: send as a file. Esc: back",
		"%s 个字符超过一条消息。Enter：分 %d 条发送；f：作为文件发送；Esc：返回",
	},
	AskSplitOnly: {
		"%s characters fit no single message. Enter: send %d messages. Esc: back",
		"%s 个字符超过一条消息。Enter：分 %d 条发送；Esc：返回",
	},
	LineSkipped: {
		"a line of more than %s was not sent: put it in a file, and /file sends that",
		"超过 %s 的一行未发送：请保存为文件后用 /file 发送",
	},
	TooLongToSend: {"the conversation has room for %d more messages until some are sent", "在已有消息发出之前，该会话最多还能发送 %d 条"},

	NoCommand: {
		"unknown command %[1]s: /help lists them; %[2]s sends it as a text",
		"没有命令 %[1]s：/help 列出全部命令；%[2]s 可作为文本发送",
	},
	NoCommandMeant: {
		"unknown command %[1]s: did you mean %[3]s? %[2]s sends it as a text",
		"没有命令 %[1]s：是想用 %[3]s 吗？%[2]s 可作为文本发送",
	},
	CommandTakes: {"usage: %s", "用法：%s"},
	NoneChosen:   {"no conversation chosen: /to NAME or /to #GROUP", "没有选择会话：/to NAME 或 /to #GROUP"},
	PathUnclosed: {"a quote is not closed: %s", "引号没有闭合：%s"},
	NoPathLike:   {"nothing begins with %s", "没有以 %s 开头的文件"},

	FileMoving:    {"%s: %d %%; :stop pauses", "%s：%d %%；:stop 暂停"},
	FileIsSent:    {"%s is sent", "%s 已发送"},
	FileIsFetched: {"saved as %s", "已保存为 %s"},
	PeerSent:      {"%s has sent %s (%s); :get fetches it", "%s 发来了 %s（%s）；:get 可下载"},
	PeerSending:   {"%s is sending %s: %s; :get fetches it as soon as it is there", "%s 正在发送 %s：%s；完成后可用 :get 下载"},
	PeerHas:       {"%s has %s", "%s 已收到 %s"},
	PeerFetching:  {"%s is fetching %s: %s", "%s 正在下载 %s：%s"},
	FarOf:         {"%d %% of %s", "%[2]s 的 %[1]d %%"},
	TroubleOf:     {"%s: %s", "%s：%s"},
	LoadContacts:  {"load contacts", "加载联系人"},
	LoadHistory:   {"load history", "加载历史消息"},
	LoadMissed:    {"load missed messages", "加载错过的消息"},
	SendTrouble:   {"send", "发送"},
	FileOf:        {"file %s", "文件 %s"},

	DetailsTitle:   {" Details", " 详情"},
	DetailsNews:    {" What was said at the bottom of the screen, the newest first", " 屏幕底部显示过的内容，最新的在前"},
	DetailsNothing: {"nothing yet", "暂无"},
	HelpTitle:      {" Keys", " 按键"},
	HelpTab:        {"between the list and the input; completes a :command, PATH or NAME", "在列表和输入框之间切换；补全 :命令、路径或名字"},
	HelpArrows:     {"in the list: choose; in the input: scroll", "在列表中选择；在输入框中滚动"},
	HelpEnter:      {"open what is chosen; send what is written", "打开所选会话；发送所写内容"},
	HelpSearch:     {"in the list: search contacts and groups", "在列表中搜索联系人和群"},
	HelpPages:      {"scroll; above the top, older messages are loaded", "翻页；翻过顶部时加载更早的消息"},
	HelpEsc:        {"end the search; back to the newest message; to the list", "结束搜索；回到最新消息；回到列表"},
	HelpUnread:     {"next conversation with unread messages", "下一个有未读消息的会话"},
	HelpRetry:      {"send failed messages again", "重发失败的消息"},
	HelpBreak:      {"line break in a message", "在消息中换行"},
	HelpEdit:       {"start, end; delete word, to start, to end", "行首、行尾；删除单词、到行首、到行尾"},
	HelpCommands: {
		":to NAME  :file PATH  :get [NAME]  :stop  :retry  :read  :quit",
		":to 名字  :file 路径  :get [名字]  :stop  :retry  :read  :quit",
	},
	HelpEscape:   {"send a text that begins with : or /", "发送以 : 或 / 开头的文本"},
	HelpDetails:  {"what did not fit: the conversation, all that was said below", "看全文：会话详情，以及底部显示过的内容"},
	HelpHelp:     {"this help", "本帮助"},
	HelpLeave:    {"leave", "退出"},
	HelpMarks:    {"a message is on its way, is stored, has failed", "消息正在发送、已保存、发送失败"},
	HelpPresence: {"a contact is on-line, is not", "联系人在线、不在线"},
}

// text returns a text in a language.
func text(id ID, l Lang) string {
	if id < refusalsEnd {
		return refusals[id][l]
	}
	return screens[id][l]
}
