// Command fill writes many certificates into the ledger of a data folder that
// nobody serves, so that bench/more can measure with them. Each is of a name of
// its own, and none was ever signed: only the ledger knows of them.
//
// usage: go run ./bench/fill DATA FROM TO
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/cli"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// batch is how many go into one transaction.
const batch = 5000

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: fill DATA FROM TO")
	}
	from, err1 := strconv.Atoi(os.Args[2])
	to, err2 := strconv.Atoi(os.Args[3])
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	if err := fill(context.Background(), os.Args[1], from, to); err != nil {
		log.Fatal(err)
	}
}

func fill(ctx context.Context, dir string, from, to int) (err error) {
	lock, err := api.TryHold(dir)
	if err != nil {
		return err
	}
	h, err := cli.OpenHouse(ctx, lock, cli.HouseOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	var issuer ledger.KeyID
	for _, i := range h.Roster.Issuers() {
		if i.Use == ledger.UseClients {
			issuer = i.KeyID
		}
	}
	for ; from < to; from += batch {
		if err := h.Store.Update(ctx, func(tx *store.Tx) error {
			for n := from; n < min(to, from+batch); n++ {
				if err := add(tx, issuer, n); err != nil {
					return fmt.Errorf("certificate %d: %w", n, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// add writes the nth name and its certificate.
func add(tx *store.Tx, issuer ledger.KeyID, n int) error {
	name, err := identity.ParseName(fmt.Sprintf("many/device-%d", n))
	if err != nil {
		return err
	}
	hash := sha256.Sum256(fmt.Append(nil, n))
	serial, err := ledger.SerialFromBytes(binary.BigEndian.AppendUint64([]byte{1}, binary.BigEndian.Uint64(hash[:])))
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	if err := tx.Append(ledger.IdentityCreated{Name: name}); err != nil {
		return err
	}
	return tx.Append(ledger.CertificateIssued{
		Ref:  ledger.Ref{Issuer: issuer, Serial: serial, TBS: hash},
		Name: name, Profile: "device", Key: sha256.Sum256(hash[:]), NotBefore: now, NotAfter: now.AddDate(1, 0, 0), Via: "issue",
	})
}
