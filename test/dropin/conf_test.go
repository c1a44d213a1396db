//go:build unix

package dropin

// files are the names of the original's configuration files.
var files = map[string]string{ //nolint:gochecknoglobals // a table
	"db_proxy": "dbproxyserver.conf", "route_server": "routeserver.conf", "login_server": "loginserver.conf",
	"msg_server": "msgserver.conf",
}

// conf is what an operator of the original has; only the ports in braces are
// ours. Source: docs/protocol/config.md §3.
func conf(role string) string {
	switch role {
	case "route_server":
		return `ListenIP=0.0.0.0			# Listening IP
ListenMsgPort={route}			# Listening Port for MsgServer
`
	case "login_server":
		return `ClientListenIP=0.0.0.0   #can use multiple ip, separate by ';'
ClientPort={client}
HttpListenIP=0.0.0.0
HttpPort={login}
MsgServerListenIP=0.0.0.0   #can use multiple ip, separate by ';'
MsgServerPort={register}
msfs=http://127.0.0.1:8700/
discovery=http://127.0.0.1/api/discovery
`
	case "msg_server":
		return `ListenIP=0.0.0.0
ListenPort={msg}

ConcurrentDBConnCnt=2
DBServerIP1=127.0.0.1
DBServerPort1={db}
DBServerIP2=127.0.0.1
DBServerPort2={db}

LoginServerIP1=127.0.0.1
LoginServerPort1={register}
#LoginServerIP2=localhost
#LoginServerPort2=8100

RouteServerIP1=127.0.0.1
RouteServerPort1={route}
#RouteServerIP2=localhost
#RouteServerPort2=8200

PushServerIP1=127.0.0.1
PushServerPort1=8500

FileServerIP1=127.0.0.1
FileServerPort1=8601

IpAddr1=127.0.0.1 	#电信IP
IpAddr2=127.0.0.1 	#网通IP
MaxConnCnt=100000

#AES 密钥
aesKey=12345678901234567890123456789012
`
	}
	return `ListenIP=127.0.0.1
ListenPort={db}
ThreadNum=48		# double the number of CPU core
MsfsSite=127.0.0.1

#configure for mysql
DBInstances=teamtalk_master,teamtalk_slave
#teamtalk_master
teamtalk_master_host=127.0.0.1
teamtalk_master_port={mysql}
teamtalk_master_dbname=test
teamtalk_master_username=test
teamtalk_master_password=12345
teamtalk_master_maxconncnt=16

#teamtalk_slave
teamtalk_slave_host=127.0.0.1
teamtalk_slave_port={mysql}
teamtalk_slave_dbname=test
teamtalk_slave_username=test
teamtalk_slave_password=12345
teamtalk_slave_maxconncnt=16

#configure for unread
CacheInstances=unread,group_set,token,sync,group_member
#未读消息计数器的redis
unread_host=127.0.0.1
unread_port={redis}
unread_db=1
unread_maxconncnt=16

#群组设置redis
group_set_host=127.0.0.1
group_set_port={redis}
group_set_db=2
group_set_maxconncnt=16

#同步控制
sync_host=127.0.0.1
sync_port={redis}
sync_db=3
sync_maxconncnt=1

#deviceToken redis
token_host=127.0.0.1
token_port={redis}
token_db=4
token_maxconncnt=16

#GroupMember
group_member_host=127.0.0.1
group_member_port={redis}
group_member_db=5
group_member_maxconncnt=48

#AES 密钥
aesKey=12345678901234567890123456789012
`
}
