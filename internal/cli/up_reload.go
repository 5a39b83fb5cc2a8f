package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
)

// enforce puts conf in force. On an error the one before stays.
func (s *server) enforce(ctx context.Context, conf config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.acme.Configure(ctx, acmeProfiles(conf)); err != nil {
		return err
	}
	oldDoors, old := s.doors.Load(), s.sites.Load()
	nextDoors, err := oldDoors.reopen(conf)
	if err != nil {
		return err
	}
	next, err := s.newSites(ctx, conf, old)
	if err != nil {
		nextDoors.closeUnless(oldDoors)
		return err
	}
	s.sites.Store(next)
	if err := s.gateway.Configure(s.gatewayConfig(conf, next, nextDoors)); err != nil {
		s.sites.Store(old)
		next.dropUnless(old)
		nextDoors.closeUnless(oldDoors)
		return err
	}
	s.inUse.Store(&conf)
	s.level.Set(conf.Log.Level)
	s.move(oldDoors, nextDoors)
	old.dropUnless(next)
	select {
	case s.refilled <- struct{}{}:
	default:
	}
	return nil
}

// move takes connections at the doors of next and no more at those that only
// old has. s.mu is held.
func (s *server) move(old, next *doors) {
	s.doors.Store(next)
	known := old.all()
	for _, one := range next.all() {
		if s.open && !slices.Contains(known, one) {
			s.serve(one)
		}
	}
	old.closeUnless(next)
}

// reload puts another configuration in force; when it is wrong the old one
// stays.
func (s *server) reload(text api.Text) (err error) {
	defer func() {
		result := "in-force"
		if err != nil {
			result = "refused"
		}
		s.reloads.WithLabelValues(result).Inc()
	}()
	if text.Wrong != "" {
		return errors.New(text.Wrong)
	}
	conf, _, err := upConfig(text, s.flags)
	if err == nil {
		err = s.mendable(conf)
	}
	if err == nil {
		err = s.enforce(s.alive, conf)
	}
	return s.box.explain(err)
}

// mendable refuses a change that only a restart can put in force, and names it.
func (s *server) mendable(next config.Config) error {
	if next.Log.Format != s.inUse.Load().Log.Format {
		return errors.New("the log's format changed: restart postern to use it")
	}
	return s.box.beyond(next, s.house.Dir)
}
