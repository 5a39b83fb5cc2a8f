// Postern is a private certificate authority and a gateway that lets in only
// the devices and services on your list: 'postern help' shows what it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/postern-project/postern/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, cli.OSEnv())
}
