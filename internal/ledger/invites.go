package ledger

// FollowInvites brings a set of open invites up to date with one entry.
func FollowInvites(open map[Hash]InviteCreated, body Body) {
	switch b := body.(type) {
	case InviteCreated:
		open[b.Code] = b
	case InviteUsed:
		delete(open, b.Code)
	case InviteCancelled:
		delete(open, b.Code)
	}
}
