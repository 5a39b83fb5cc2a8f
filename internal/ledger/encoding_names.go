package ledger

// Kind returns KindIdentityCreated.
func (IdentityCreated) Kind() Kind { return KindIdentityCreated }

func (i IdentityCreated) encode(e *encoder) { e.name(i.Name) }

func decodeIdentityCreated(d *decoder) Body { return IdentityCreated{Name: d.name()} }

// Kind returns KindIdentitySuspended.
func (IdentitySuspended) Kind() Kind { return KindIdentitySuspended }

func (i IdentitySuspended) encode(e *encoder) { e.name(i.Name) }

func decodeIdentitySuspended(d *decoder) Body { return IdentitySuspended{Name: d.name()} }

// Kind returns KindIdentityReinstated.
func (IdentityReinstated) Kind() Kind { return KindIdentityReinstated }

func (i IdentityReinstated) encode(e *encoder) { e.name(i.Name) }

func decodeIdentityReinstated(d *decoder) Body { return IdentityReinstated{Name: d.name()} }

// Kind returns KindGroupJoined.
func (GroupJoined) Kind() Kind { return KindGroupJoined }

func (g GroupJoined) encode(e *encoder) {
	e.group(g.Group)
	e.name(g.Name)
}

func decodeGroupJoined(d *decoder) Body { return GroupJoined{Group: d.group(), Name: d.name()} }

// Kind returns KindGroupLeft.
func (GroupLeft) Kind() Kind { return KindGroupLeft }

func (g GroupLeft) encode(e *encoder) {
	e.group(g.Group)
	e.name(g.Name)
}

func decodeGroupLeft(d *decoder) Body { return GroupLeft{Group: d.group(), Name: d.name()} }

// Kind returns KindInviteCreated.
func (InviteCreated) Kind() Kind { return KindInviteCreated }

func (i InviteCreated) encode(e *encoder) {
	e.hash(i.Code)
	e.name(i.Name)
	e.text(i.Profile)
	e.group(i.Group)
	e.time(i.Expires)
}

func decodeInviteCreated(d *decoder) Body {
	return InviteCreated{Code: d.hash(), Name: d.name(), Profile: d.word(), Group: d.optionalGroup(), Expires: d.time()}
}

// Kind returns KindInviteUsed.
func (InviteUsed) Kind() Kind { return KindInviteUsed }

func (i InviteUsed) encode(e *encoder) {
	e.hash(i.Code)
	e.hash(i.Key)
	e.hash(i.TBS)
}

func decodeInviteUsed(d *decoder) Body {
	return InviteUsed{Code: d.hash(), Key: d.hash(), TBS: d.hash()}
}

// Kind returns KindInviteCancelled.
func (InviteCancelled) Kind() Kind { return KindInviteCancelled }

func (i InviteCancelled) encode(e *encoder) { e.hash(i.Code) }

func decodeInviteCancelled(d *decoder) Body { return InviteCancelled{Code: d.hash()} }
