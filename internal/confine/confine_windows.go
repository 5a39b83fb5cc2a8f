package confine

// ToFiles returns ErrUnsupported.
func ToFiles(Reach) error { return ErrUnsupported }

// Memory does nothing: the server is for other systems.
func Memory() error { return nil }
