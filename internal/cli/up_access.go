package cli

// accessSites returns the sites that offer strangers to ask for access.
func (s *server) accessSites() []string {
	conf := s.inUse.Load()
	if conf == nil {
		return nil
	}
	var hosts []string
	for _, site := range conf.Sites {
		if site.AccessRequests {
			hosts = append(hosts, site.Host)
		}
	}
	return hosts
}
