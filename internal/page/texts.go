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
	RefusalAgain     string
	RefusalCode      string
	RefusalAsk       string
	RefusalRenew     string

	FileTitle    string
	FileLead     string
	FileHint     string
	FileButton   string
	FileOnce     string
	FilePassword string
	FileSaveP    string

	AskTitle     string
	AskLead      string
	AskLeadFor   string
	AskLeadHow   string
	AskGone      string
	AskWrong     string
	AskWho       string
	AskWhoHint   string
	AskNote      string
	AskNoteHint  string
	AskButton    string
	AskKept      string
	AskedTitle   string
	AskedLead    string
	AskedWords   string
	AskedWordsP  string
	AskedWait    string
	AskedLook    string
	AskDenied    string
	AskDeniedP   string
	AskDeniedRem string
	AskLater     string
	AskLaterP    string
	AskLaterRem  string

	JoinTitle        string
	JoinLead         string
	JoinNoScript     string
	JoinFile         string
	JoinPaste        string
	JoinPasteHint    string
	JoinMistyped     string
	JoinWrong        []hindrance
	JoinCopyLink     string
	JoinAnyway       string
	JoinMake         string
	JoinMakeP        string
	JoinMakeButton   string
	JoinWorking      string
	JoinWaiting      string
	JoinWaitingP     string
	JoinLost         string
	JoinOld          string
	JoinRetry        string
	JoinMade         string
	JoinPassword     string
	JoinPasswordP    string
	JoinCopyPassword string
	JoinSave         string
	JoinSaveP        string
	JoinSaveButton   string
	JoinInstall      string
	JoinGuides       []guide
	JoinOpen         string
	JoinOpenP        string
	JoinRejected     string
	JoinRejectedP    string
	JoinModern       string
	JoinTerminal     string
	JoinTerminalP    string
	JoinPlain        string
	JoinReplace      string
	JoinCopy         string
	JoinCopied       string
	JoinMissing      string
	JoinGo           string
	JoinChecksum     string
	JoinSafe         string
	JoinSafeP        string

	JoinAsProfile  string
	JoinAsProfileP string
	ProfileMake    string
	ProfileMakeP   string
	ProfileButton  string
	ProfileHere    string
	ProfileSteps   string
	ProfileGuides  []guide
	ProfileWaiting string
	ProfileDone    string
	ProfileDoneP   string
	ProfileNone    string
	ProfileNoneRem string

	RenewTitle    string
	RenewUntil    string
	RenewFrom     string
	RenewNow      string
	RenewNoScript string
	RenewMake     string
	RenewMakeP    string
	RenewButton   string

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
	RefusalAgain:     "Try again",
	RefusalJoin:      "I have an invitation",
	RefusalCode:      "Reason",
	RefusalAsk:       "Ask for access",
	RefusalRenew:     "Renew this certificate",

	FileTitle:    "A key made by the server",
	FileLead:     "For a device that cannot make its own key. This works only with an invitation that was made for it.",
	FileHint:     "Paste the link that you were given, or its code.",
	FileButton:   "Make the key",
	FileOnce:     "The server has made the key and keeps no copy. Save the file and the password now: this page cannot be shown again.",
	FilePassword: "Write the password down",
	FileSaveP:    "It holds the key and its certificate.",

	AskTitle:     "Ask for access",
	AskLead:      "The person who runs this site decides who may come in.",
	AskLeadFor:   "You ask the person who runs",
	AskLeadHow:   "They see what you write here, and your network address.",
	AskGone:      "Your earlier request has ended without an answer. You can ask again.",
	AskWrong:     "Write a name by which they know you.",
	AskWho:       "Your name",
	AskWhoHint:   "One by which they know you.",
	AskNote:      "A word to them",
	AskNoteHint:  "Not needed, but it helps: which device this is, or where you met.",
	AskButton:    "Ask",
	AskKept:      "Ask on the device that is to come in. The request is kept for a day at most. A cookie in this browser, and nothing else, holds the answer.",
	AskedTitle:   "Your request is waiting",
	AskedLead:    ", the person who runs this site can see your request now.",
	AskedWords:   "The words of your request",
	AskedWordsP:  "Tell them these words over the telephone or in a message, so that they say yes to you and to nobody else.",
	AskedWait:    "This page goes on by itself when they say yes. You can close it and come back with the same browser.",
	AskedLook:    "Look for the answer",
	AskDenied:    "The answer is no",
	AskDeniedP:   "The person who runs this site has turned your request down.",
	AskDeniedRem: "If you think that this is a mistake, speak to them.",
	AskLater:     "Too many requests",
	AskLaterP:    "No more requests are taken now.",
	AskLaterRem:  "Try again in an hour, or ask the person who runs this site for an invitation.",

	JoinTitle:        "You are invited",
	JoinLead:         "This device can become one of those that the door opens for. It makes a key of its own, which never leaves it.",
	JoinNoScript:     "Without JavaScript this page cannot make a key. The command below does.",
	JoinFile:         "If you were told that the server makes the key, go on here.",
	JoinPaste:        "Your invitation",
	JoinPasteHint:    "Paste the link that you were given. It stays on this page.",
	JoinMistyped:     "This link is incomplete or mistyped. Copy it again, from https:// to its last letter.",
	JoinWrong:        hindrances,
	JoinCopyLink:     "Copy the link",
	JoinAnyway:       "Go on here",
	JoinMake:         "Make the key on this device",
	JoinMakeP:        "This uses the invitation, which is good once: do it on the device that is to come in.",
	JoinMakeButton:   "Make the key",
	JoinWorking:      "Making the key and asking for its certificate …",
	JoinWaiting:      "Read these words to the person who invited you",
	JoinWaitingP:     "They have to see the same ones, and say yes. Leave this page open.",
	JoinLost:         "The server did not answer. Nothing is lost: try again, with this page left open.",
	JoinOld:          "This browser cannot make the key. Use a newer one, or the command below; the invitation is still good.",
	JoinRetry:        "Try again",
	JoinMade:         "Done: this is",
	JoinPassword:     "Copy the password",
	JoinPasswordP:    "The file of the next step is locked with it. You need it once, and nobody can show it again.",
	JoinCopyPassword: "Copy the password",
	JoinSave:         "Save the file",
	JoinSaveP:        "It holds the key and its certificate, and was made by your browser.",
	JoinSaveButton:   "Save the file",
	JoinInstall:      "Install it",
	JoinGuides:       guides,
	JoinOpen:         "Open the site",
	JoinOpenP:        "Choose the certificate when you are asked for one, and delete the saved file afterwards.",
	JoinRejected:     "The password is rejected?",
	JoinRejectedP:    "Devices call it a wrong password when they do not know a file's encoding. The file above has the one that nearly all know. Here is the same key in the modern one, with the same password.",
	JoinModern:       "Save it in the modern encoding",
	JoinTerminal:     "On a computer with a terminal",
	JoinTerminalP:    "This command does all of it, and needs no password. It carries your invitation, so treat it like a key until you have used it.",
	JoinPlain:        `postern join "LINK"`,
	JoinReplace:      "Put the whole link that you were given in place of LINK, from https:// to its last letter. It stands in the address bar if you followed it here.",
	JoinCopy:         "Copy",
	JoinCopied:       "Copied",
	JoinMissing:      "Is the command not known there? This is how it gets there:",
	JoinChecksum:     "Beside each program stands its SHA-256.",
	JoinGo:           "go install github.com/postern-project/postern/cmd/postern@latest",
	JoinSafe:         "Is it safe to look at this page?",
	JoinSafeP:        "Yes. Opening it spends nothing: the code is in the part of the address that browsers keep to themselves, and is sent only when you make the key. Whoever invited you sees that the page was opened, and on what kind of device. The invitation works once, and only for a short time.",

	JoinAsProfile:  "Save it as a profile",
	JoinAsProfileP: "Or save it as a profile, which holds the password: then nothing has to be pasted. Delete it from Downloads after the installation.",
	ProfileMake:    "Have this device make its key",
	ProfileMakeP:   "You get a profile. When you install it in Settings the device makes a key that never leaves it, and fetches its certificate.",
	ProfileButton:  "Get the profile",
	ProfileHere:    "Make the key in the browser instead",
	ProfileSteps:   "Install the profile",
	ProfileGuides:  profileGuides,
	ProfileWaiting: "This page waits for the installation, and then leads on.",
	ProfileDone:    "The certificate is on its way to",
	ProfileDoneP:   "Once Settings says that the profile is installed, open the site. When Safari asks which certificate to show, choose this name.",
	ProfileNone:    "There is no profile for this",
	ProfileNoneRem: "Go back to the page of the invitation, or ask the person who runs this site for a new one.",

	RenewTitle:    "Renew this device",
	RenewUntil:    "may come in until",
	RenewFrom:     "A browser can renew it from this day on:",
	RenewNow:      "It is time to renew.",
	RenewNoScript: "Without JavaScript this page cannot make a key. Ask for a new invitation instead.",
	RenewMake:     "Make a new key on this device",
	RenewMakeP:    "It comes with a new certificate for the same name. The one that is here stays good until its end.",
	RenewButton:   "Renew",

	MessageHome:    "A private door",
	MessageHomeP:   "Behind it are sites that open only for enrolled devices.",
	MessageHomeRem: "If you were given an invitation, follow its link or paste it on the next page. If not, there is nothing here for you to do.",
	MessageLost:    "Nothing is here",
	MessageLostP:   "This address leads nowhere.",
	MessageLostRem: "Check it for a typing error, or go back to where you found it.",
	MessageJoin:    "I have an invitation",
}

// A hindrance says why a certificate cannot be installed from a browser.
type hindrance struct{ For, Text string }

var hindrances = []hindrance{
	{"app", "This page is open inside another app, which cannot install a key. Open the link in the browser: in Safari on an iPhone or iPad, in Chrome on Android."},
	{"safari", "On an iPhone or iPad only Safari can install a key and use it. Open the link in Safari."},
	{"firefox", "This Firefox cannot use certificates. Open the link in Chrome, or update Firefox to version 142 or later."},
}

// A guide says how something is installed on a kind of device.
type guide struct {
	For, Title string
	Steps      []step
	Note       string
}

var guides = []guide{
	{"android", "On Android", []step{
		{"Tap the saved file, at the top of the screen or under Downloads.", []string{"Downloads", ">anna-phone.p12", "", ""}},
		{"Paste the password.", []string{"Extract certificate", "abcd-efgh-jkmn-pqrs", ">OK"}},
		{"Choose “VPN & app user certificate”. Not “Wi-Fi”: browsers do not see what is stored there.", []string{"Choose a certificate type", ">VPN & app user certificate", "Wi-Fi certificate"}},
		{"Keep the name, and tap OK.", []string{"Name this certificate", "anna/phone", ">OK"}},
	}, "If nothing happens when you tap the file: Settings, Security and privacy, More security settings, Encryption and credentials, Install a certificate, VPN & app user certificate. Android asks for a screen lock if there is none."},
	{"ios", "On an iPhone or iPad", []step{
		{"In Safari, tap Allow when it asks about a profile. If it saved a file instead, open it in the Files app.", []string{"Download a profile?", "Ignore", ">Allow"}},
		{"Open the Settings app, and tap “Profile Downloaded” at the top.", []string{"Settings", ">Profile Downloaded", "", ""}},
		{"Tap Install, and enter the passcode of the device.", []string{"Install Profile", "Identity Certificate", ">Install"}},
		{"“Not Signed” is expected: tap Install again, twice.", []string{"Unsigned Profile", "Not Signed", ">Install"}},
		{"Paste the password, tap Next, then Done.", []string{"Enter Password", "abcd-efgh-jkmn-pqrs", ">Next"}},
	}, "Safari and Mail can use it; other browsers and apps on these devices cannot."},
	{"mac", "On a Mac", []step{
		{"Double-click the saved file, and choose the keychain “login”.", []string{"Add Certificates", "Keychain: login", ">Add"}},
		{"Paste the password.", []string{"Enter the password", "abcd-efgh-jkmn-pqrs", ">OK"}},
		{"When a browser first uses it, enter the password of your Mac and click “Always Allow”.", []string{"Safari wants to sign", "Allow", ">Always Allow"}},
	}, "Firefox keeps its own: Settings, Privacy & Security, View Certificates, Your Certificates, Import."},
	{"windows", "On Windows", []step{
		{"Double-click the saved file, and choose “Current User”.", []string{"Certificate Import Wizard", ">Current User", "Local Machine"}},
		{"Paste the password, and leave the other choices as they are.", []string{"Private key protection", "abcd-efgh-jkmn-pqrs", ">Next"}},
		{"Let Windows choose the store, and click Finish.", []string{"Certificate Store", "Automatically select the store", ">Finish"}},
	}, "Close the browser completely and open it again."},
	{"linux", "On Linux", []step{
		{"In Chrome or Chromium: Settings, Privacy and security, Security, Manage certificates, Your certificates, Import.", []string{"Your certificates", "", ">Import"}},
		{"In Firefox: Settings, Privacy & Security, View Certificates, Your Certificates, Import.", nil},
		{"Choose the saved file, and paste the password.", []string{"Enter your certificate password", "abcd-efgh-jkmn-pqrs", ">OK"}},
	}, "Close the browser completely and open it again."},
}

// profileGuides say how a configuration profile is installed.
var profileGuides = []guide{
	{"ios", "On an iPhone or iPad", []step{
		{"Tap Allow when Safari asks about a profile, then Close.", []string{"Download a profile?", "Ignore", ">Allow"}},
		{"Open the Settings app, and tap “Profile Downloaded” at the top.", []string{"Settings", ">Profile Downloaded", "", ""}},
		{"Look who signed it: this site, with “Verified”. Tap Install, and enter the passcode of the device.", []string{"Install Profile", "Verified", ">Install"}},
		{"Tap Install again, then Done, and come back to this page.", []string{"Profile Installed", "Verified", ">Done"}},
	}, "Safari and Mail can use it; other browsers and apps on these devices cannot."},
	{"mac", "On a Mac", []step{
		{"Open the saved file. The Mac says that a profile was downloaded.", []string{"Downloads", ">anna-mac.mobileconfig", ""}},
		{"Open System Settings, and choose the profile under General, Device Management; before macOS 15, under Privacy & Security, Profiles.", []string{"Device Management", ">anna/mac", ""}},
		{"Click Install, and enter the password of your Mac.", []string{"anna/mac", "Verified", ">Install…"}},
	}, "Safari, Chrome and Edge can use it."},
}
