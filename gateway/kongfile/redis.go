package kongfile

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// Redis is where replicas share used proofs and introspection answers.
type Redis struct {
	entity
	RedisSettings
}

// RedisSettings are how it is reached.
type RedisSettings struct {
	Addresses   []string // of one server, or of nodes of a cluster
	Cluster     bool
	Username    string
	Password    string
	Database    int
	TLS         bool
	ServerName  string // of its certificate; "" for the host's
	DialTimeout time.Duration
	ReadTimeout time.Duration
	SendTimeout time.Duration
	PoolSize    int // 0: the client's
}

// readRedis reads cluster_cache_strategy and its record. Kong shares introspection
// answers there; the gateway shares used proofs too, or one would pass at each replica.
func (p *OpenIDConnect) readRedis() {
	m := p.m.within("cluster_cache_redis")
	strategy := p.m.oneOf("cluster_cache_strategy", "off", "off", "redis")
	var items []string
	if strategy == "redis" || p.Given("cluster_cache_items") {
		items = p.m.texts("cluster_cache_items", "introspection")
	}
	for _, item := range items {
		if item != "introspection" {
			p.Wrong("cluster_cache_items", "%q is not supported: tokens of callers stay in the process that has got them; it can be introspection", item)
		}
	}
	switch {
	case strategy != "redis":
		if m != nil {
			m.ignoreAll() // Kong does not use it either
		}
		return
	case m == nil:
		p.Wrong("cluster_cache_strategy", "redis needs cluster_cache_redis")
		return
	}
	p.Redis = newRedis(m)
}

func newRedis(m *mapping) *Redis {
	second := 2 * time.Second
	r := &Redis{entity: entity{m}, RedisSettings: RedisSettings{
		Username:    m.text("username", ""),
		Password:    m.text("password", ""),
		Database:    m.integer("database", 0, 0, 1<<15),
		TLS:         m.flag("ssl", false),
		ServerName:  m.text("server_name", ""),
		DialTimeout: m.duration("connect_timeout", time.Millisecond, second),
		ReadTimeout: m.duration("read_timeout", time.Millisecond, second),
		SendTimeout: m.duration("send_timeout", time.Millisecond, second),
		PoolSize:    m.integer("keepalive_pool_size", 0, 1, 1<<20),
	}}
	m.mustBe("ssl_verify", true, "an attacker in between could forget used proofs; name a private CA with -redis-ca")
	nodes := m.list("cluster_nodes")
	for _, node := range nodes {
		r.Addresses = append(r.Addresses, address(node, "ip"))
		node.done(nil)
	}
	if r.Cluster = len(nodes) > 0; !r.Cluster {
		r.Addresses = []string{address(m, "host")}
	} else if r.Database != 0 {
		m.wrong("database", "a cluster has no numbered databases")
	}
	m.done(whyNotRedis)
	return r
}

func address(m *mapping, host string) string {
	return net.JoinHostPort(m.text(host, "127.0.0.1"), strconv.Itoa(m.integer("port", 6379, 1, 65535)))
}

func whyNotRedis(key string) string {
	switch {
	case strings.HasPrefix(key, "sentinel_"):
		return "is not supported: name the server itself in host, or the nodes of a cluster in cluster_nodes"
	case key == "cloud_authentication":
		return "is not supported: set username and password"
	}
	return ""
}
