package store

import (
	"context"
	"database/sql"
	"strings"
)

// hostsSchema is the migration that brought certificate_host.
const hostsSchema = 4

const insertHost = "INSERT INTO certificate_host (host, certificate) VALUES ($1, $2) ON CONFLICT DO NOTHING"

// hostsIssued enters the hosts of a certificate that was recorded.
func (v view) hostsIssued(hosts ...string) error {
	for _, list := range hosts {
		for host := range strings.FieldsSeq(list) {
			if _, err := v.db.exec(v.ctx, insertHost, host, v.seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillHosts makes certificate_host from the certificates of an older schema.
func fillHosts(ctx context.Context, tx *sql.Tx) error {
	type row struct {
		seq       int64
		dns, addr string
	}
	var all []row
	rows, err := tx.QueryContext(ctx, "SELECT seq, dns, ips FROM certificate WHERE dns <> '' OR ips <> ''")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.seq, &r.dns, &r.addr); err != nil {
			return err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, r := range all {
		for host := range strings.FieldsSeq(r.dns + " " + r.addr) {
			if _, err := tx.ExecContext(ctx, insertHost, host, r.seq); err != nil {
				return err
			}
		}
	}
	return nil
}
