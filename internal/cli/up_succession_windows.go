package cli

import "os"

// successionSignals is empty: no signal asks for a succession here.
var successionSignals []os.Signal

func ignoreSuccession() {}
