//go:build !linux

package cli

// drillVariable is used on Linux only.
const drillVariable = "POSTERN_TEST_DRILL"

func runDrill() int { return 1 }
