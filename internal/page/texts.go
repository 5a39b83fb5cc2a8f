package page

// texts holds every word of every page, apart from the sentences of package
// refusal, which the log and the commands share.
type texts struct {
	Lang    string
	Product string

	RefusalRemedy    string
	RefusalReference string
	RefusalReadOut   string
	RefusalDetails   string
	RefusalJoin      string
	RefusalCode      string

	JoinTitle      string
	JoinLead       string
	JoinStepOpen   string
	JoinStepOpenP  string
	JoinStepRun    string
	JoinStepRunP   string
	JoinNoScript   string
	JoinPlain      string
	JoinPaste      string
	JoinPasteHint  string
	JoinMistyped   string
	JoinCopy       string
	JoinCopied     string
	JoinStepDone   string
	JoinStepDoneP  string
	JoinMissing    string
	JoinMissingP   string
	JoinInstall    string
	JoinPhone      string
	JoinPhoneP     string
	JoinSafe       string
	JoinSafeP      string
	JoinAddress    string
	MessageHomeP   string
	MessageHome    string
	MessageHomeRem string
	MessageLost    string
	MessageLostP   string
	MessageLostRem string
	MessageJoin    string
}

// english is immutable.
var english = texts{
	Lang:    "en",
	Product: "Guarded by Postern",

	RefusalRemedy:    "What you can do",
	RefusalReference: "Reference",
	RefusalReadOut:   "Read it out to the person who runs this site: it tells them the whole story.",
	RefusalDetails:   "What this device showed",
	RefusalJoin:      "I have an invitation",
	RefusalCode:      "Reason",

	JoinTitle:     "You are invited",
	JoinLead:      "This computer can become one of those that the door opens for. It makes a key of its own, which never leaves it.",
	JoinStepOpen:  "Open a terminal",
	JoinStepOpenP: "On the computer that you want to enrol.",
	JoinStepRun:   "Run this command",
	JoinStepRunP:  "It carries your invitation, so treat it like a key until you have used it.",
	JoinNoScript:  "Put the whole link that you were given in place of LINK, from https:// to its last letter. It stands in the address bar if you followed it here.",
	JoinPlain:     `postern join "LINK"`,
	JoinPaste:     "Your invitation",
	JoinPasteHint: "Paste the link that you were given. It stays on this page.",
	JoinMistyped:  "This link is incomplete or mistyped. Copy it again, from https:// to its last letter.",
	JoinCopy:      "Copy",
	JoinCopied:    "Copied",
	JoinStepDone:  "Open the site",
	JoinStepDoneP: "The command says where it put the key and the certificate, and how to use them.",
	JoinMissing:   "The computer does not know the command?",
	JoinMissingP:  "Install Postern first. With Go on the computer, that is",
	JoinInstall:   "go install github.com/postern-project/postern/cmd/postern@latest",
	JoinPhone:     "Enrolling a phone?",
	JoinPhoneP:    "A phone takes its key as a file. Ask the person who invited you for one; they make it with",
	JoinAddress:   "postern issue NAME --p12",
	JoinSafe:      "Is it safe to look at this page?",
	JoinSafeP:     "Yes. Opening it spends nothing and tells the server nothing: the code is in the part of the address that browsers keep to themselves. The invitation works once, and only for a short time.",

	MessageHome:    "A private door",
	MessageHomeP:   "Behind it are sites that open only for enrolled devices.",
	MessageHomeRem: "If you were given an invitation, follow its link or paste it on the next page. If not, there is nothing here for you to do.",
	MessageLost:    "Nothing is here",
	MessageLostP:   "This address leads nowhere.",
	MessageLostRem: "Check it for a typing error, or go back to where you found it.",
	MessageJoin:    "I have an invitation",
}
