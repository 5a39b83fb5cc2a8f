package page

import (
	"encoding/base64"
	"html/template"
	"strings"

	"github.com/postern-project/postern/internal/refusal"
)

// A RefusalView is what the page of a refusal shows.
type RefusalView struct {
	Info refusal.Info
	// Reference is left out of the page when it is zero.
	Reference refusal.Reference
	// Site is the host name that was asked for, or empty.
	Site string
	// Details are facts about the visitor, such as the certificate shown.
	Details []Row
	// JoinURL is where an invitation can be used; empty for nowhere.
	JoinURL string
	// AskURL is where access can be asked for, and RenewURL where the
	// certificate that has ended can be renewed still; empty for nowhere.
	AskURL, RenewURL string
	// Again offers to be asked for a certificate once more.
	Again bool
}

// Refusal returns the page that tells a visitor why they were turned away and
// what they can do.
func Refusal(v RefusalView) Page {
	details := make([]Row, 0, len(v.Details))
	for _, row := range v.Details {
		details = append(details, Row{clean(row.Label), clean(row.Value)})
	}
	v.Details = details
	f := frame{Title: v.Info.Title, Site: v.Site, View: v}
	if v.Again {
		f.Script = script("again.js")
	}
	return render("refusal", f)
}

// script returns files as one script.
func script(names ...string) template.JS {
	var out strings.Builder
	for _, name := range names {
		out.WriteString(read(name))
	}
	return template.JS(out.String())
}

// A JoinView is what the page of an invitation shows. The invitation itself
// is in the address's fragment, which the server never sees.
type JoinView struct {
	// Site is whose door it is: the trust domain or the public host name.
	Site string
	// Downloads are programs that the server offers.
	Downloads []Download
	// FilePath is where the server makes the key, for invitations that say so.
	FilePath string
	// ProfilePath is where Apple's devices get a configuration profile, and
	// StatePath where the page asks what became of the invitation; both empty
	// when there are no profiles.
	ProfilePath, StatePath string
}

// A Download is the program for one kind of system.
type Download struct {
	System, URL string
	SHA256      string // in hex
}

// Join returns the page that an invitation's link leads to.
func Join(v JoinView) Page {
	return render("join", frame{
		Title: english.JoinTitle, Site: v.Site, Open: true, Script: script("parts.js", "join.js"), Load: Keymaker().In(JoinFolder), Form: v.ProfilePath != "", View: v,
	})
}

// A RenewView is what the page of a renewal shows.
type RenewView struct {
	Site, Name string
	// Until is when the certificate ends, in words, and From when a browser
	// can renew it, "" for now.
	Until, From string
}

// Renew returns the page on which a device gets the successor of the
// certificate that it shows.
func Renew(v RenewView) Page {
	v.Name = clean(v.Name)
	f := frame{Title: english.RenewTitle, Site: v.Site, Open: true, View: v}
	if v.From == "" {
		f.Script, f.Load = script("parts.js", "renew.js"), Keymaker().In(RenewFolder)
	}
	return render("renew", f)
}

// A MessageView is a page with nothing but a heading, a sentence, a remedy and
// perhaps one link.
type MessageView struct {
	Title    string
	Sentence string
	Remedy   string
	Site     string
	// LinkText and LinkURL are both set or both empty.
	LinkText string
	LinkURL  string
}

// Message returns a page that says one thing.
func Message(v MessageView) Page {
	return render("message", frame{Title: v.Title, Site: v.Site, View: v})
}

// Home returns the page at the root of a public side; joinURL is where an
// invitation can be used.
func Home(site, joinURL string) Page {
	return Message(MessageView{
		Title: english.MessageHome, Sentence: english.MessageHomeP, Remedy: english.MessageHomeRem,
		Site: site, LinkText: english.MessageJoin, LinkURL: joinURL,
	})
}

// NotFound returns the page for an address that leads nowhere.
func NotFound(site string) Page {
	return Message(MessageView{
		Title: english.MessageLost, Sentence: english.MessageLostP, Remedy: english.MessageLostRem, Site: site,
	})
}

// NoProfile returns the page that tells why there is no configuration profile;
// joinURL is where an invitation can be used.
func NoProfile(site, why, joinURL string) Page {
	return Message(MessageView{
		Title: english.ProfileNone, Sentence: sentence(why), Remedy: english.ProfileNoneRem,
		Site: site, LinkText: english.MessageJoin, LinkURL: joinURL,
	})
}

// sentence makes a sentence of what a program says.
func sentence(why string) string {
	why = strings.TrimSuffix(clean(why), ".") + "."
	return strings.ToUpper(why[:1]) + why[1:]
}

// An AskView is what the page shows on which somebody without an invitation
// asks for access.
type AskView struct {
	Site string
	// Path is where the form goes; MaxWho and MaxNote bound what it takes, in
	// characters.
	Path            string
	MaxWho, MaxNote int
	// For is the host at whose door they stood; "" where that is not known.
	For string
	// Note is what was written before.
	Note string
	// Wrong says that the form lacked a name; Gone that an earlier request has
	// ended.
	Wrong, Gone bool
}

// Ask returns the page with the form. It works without script.
func Ask(v AskView) Page {
	v.For, v.Note = clean(v.For), clean(v.Note)
	return render("ask", frame{Title: english.AskTitle, Site: v.Site, Form: true, View: v})
}

// An AskedView is what the page of a request shows while it waits.
type AskedView struct {
	Site, Path string
	// Words are what the operator sees too, and Who what was written.
	Words, Who string
}

// Asked returns the page that waits for the operator's answer.
func Asked(v AskedView) Page {
	v.Who = clean(v.Who)
	return render("asked", frame{Title: english.AskedTitle, Site: v.Site, Script: script("asked.js"), View: v})
}

// AskDenied returns the page that tells an answer of no.
func AskDenied(site string) Page {
	return Message(MessageView{
		Title: english.AskDenied, Sentence: english.AskDeniedP, Remedy: english.AskDeniedRem, Site: site,
	})
}

// AskLater returns the page for a request that is one too many.
func AskLater(site string) Page {
	return Message(MessageView{
		Title: english.AskLater, Sentence: english.AskLaterP, Remedy: english.AskLaterRem, Site: site,
	})
}

// A FileView is what the page shows on which the server makes the key.
type FileView struct {
	Site, Path string
	Wrong      string // why nothing was made; "" at first
}

// File returns the page with the form. It works without script.
func File(v FileView) Page {
	v.Wrong = clean(v.Wrong)
	return render("file", frame{Title: english.FileTitle, Site: v.Site, Open: true, Form: true, View: v})
}

// A FileMadeView is a key that the server made, in a file, with its password.
type FileMadeView struct {
	Site, Name, Password string
	File                 []byte
}

// Download returns the file's name.
func (v FileMadeView) Download() string { return strings.ReplaceAll(v.Name, "/", "-") + ".p12" }

// Data returns the file as an address that asks nobody.
func (v FileMadeView) Data() template.URL {
	return template.URL("data:application/x-pkcs12;base64," + base64.StdEncoding.EncodeToString(v.File))
}

// FileMade returns the page that holds the file and its password.
func FileMade(v FileMadeView) Page {
	return render("filemade", frame{Title: english.JoinTitle, Site: v.Site, Open: true, View: v})
}
