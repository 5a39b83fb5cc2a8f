package gateway

// Connections returns how many connections are open now, WebSockets included.
func (g *Gateway) Connections() int { return int(g.index.size()) }
