package refusal

import "net/http"

// askOperator is the remedy of causes that a visitor cannot mend.
const askOperator = "Give the reference below to the person who runs this site."

var catalogue = []Info{
	{
		Code: UnknownHost, Status: http.StatusMisdirectedRequest, Title: "No such site here",
		Sentence:       "This server has no site of that name.",
		VisitorRemedy:  "Check the address for a typing error.",
		OperatorRemedy: "Add the host name under 'sites:' in postern.yaml, or point its DNS record elsewhere.",
	},
	{
		Code: Misdirected, Status: http.StatusMisdirectedRequest, Title: "Wrong connection for this site",
		Sentence:       "The request is for another site than the one this connection was opened for.",
		VisitorRemedy:  "Reload the page; the browser then opens a connection of its own.",
		OperatorRemedy: "Usually a browser reusing a connection, which mends itself. If it persists, a client sends a Host header that differs from the TLS server name.",
	},
	{
		Code: BadRequest, Status: http.StatusBadRequest, Title: "Request not understood",
		Sentence:       "The request does not follow the rules of HTTP.",
		VisitorRemedy:  "Try another browser or an up-to-date client.",
		OperatorRemedy: "The log line says which rule was broken.",
	},
	{
		Code: AmbiguousPath, Status: http.StatusBadRequest, Title: "Ambiguous address",
		Sentence:       "The address can be read in two ways, so it is not served.",
		VisitorRemedy:  "Follow a link of the site instead of an address with '//', '%2F', '..', '\\' or ';' in it.",
		OperatorRemedy: "A client sent a path that two programs may read differently, which is how access rules are bypassed. Mend the link, or treat it as an attack.",
	},
	{
		Code: MethodNotServed, Status: http.StatusMethodNotAllowed, Title: "Method not served",
		Sentence:       "The site does not answer this kind of request.",
		VisitorRemedy:  "Open the page with GET, as browsers do.",
		OperatorRemedy: "Static sites answer GET and HEAD only, and CONNECT is never served: put an application behind 'proxy:' for the rest.",
	},
	{
		Code: NoCertificate, Status: http.StatusForbidden, Title: "No certificate was shown",
		Sentence:       "This site opens only for enrolled devices, and this device showed no certificate.",
		VisitorRemedy:  "Ask the person who runs this site for an invitation. If this device has been enrolled already, its certificate may have ended or belong to another browser; to be asked for one once more, choose Try again, or close the browser completely and open it again.",
		OperatorRemedy: "Invite the device: 'postern invite NAME/DEVICE'. A browser sends nothing when its certificate has ended or does not come from one of this site's issuers, and goes on sending nothing once somebody has chosen none: the page's Try again makes it ask once more.",
	},
	{
		Code: BadCertificate, Status: http.StatusForbidden, Title: "The certificate cannot be read",
		Sentence:       "The certificate that this device showed is damaged, or larger or longer than any we issue.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation.",
		OperatorRemedy: "The log line says what was wrong with it; 'postern explain FILE' on the client's certificate file shows the same.",
	},
	{
		Code: SelfSigned, Status: http.StatusForbidden, Title: "A self-made certificate",
		Sentence:       "The certificate that this device showed is signed by itself, so nobody vouches for it.",
		VisitorRemedy:  "Use the certificate that you got when this device was enrolled, or ask the person who runs this site for an invitation.",
		OperatorRemedy: "The client was set up with a certificate that it made itself. Invite it: 'postern invite NAME/DEVICE'.",
	},
	{
		Code: UnknownIssuer, Status: http.StatusForbidden, Title: "A certificate of another authority",
		Sentence:       "The certificate that this device showed was issued by an authority that this site does not know.",
		VisitorRemedy:  "Choose the certificate for this site, or ask the person who runs it for an invitation.",
		OperatorRemedy: "The log line names the issuer. If it should be one of yours, compare its key id with 'postern list issuers'.",
	},
	{
		Code: BadChain, Status: http.StatusForbidden, Title: "The chain of certificates does not hold",
		Sentence:       "The certificate that this device showed does not lead to this site's root without a break.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation.",
		OperatorRemedy: "Run 'postern explain FILE' on the client's certificate file: it shows the link that breaks. Often the intermediate certificate is missing from the file.",
	},
	{
		Code: WrongPurpose, Status: http.StatusForbidden, Title: "A certificate for another purpose",
		Sentence:       "The certificate that this device showed is not meant for opening sites.",
		VisitorRemedy:  "Choose the certificate of this device; a server's certificate does not open doors.",
		OperatorRemedy: "The certificate lacks the clientAuth usage: issue one with the profile 'device' or 'service'.",
	},
	{
		Code: NotYetValid, Status: http.StatusForbidden, Title: "The certificate is not valid yet",
		Sentence:       "The certificate that this device showed begins in the future.",
		VisitorRemedy:  "Wait until it begins, or ask the person who runs this site whether the server's clock is right.",
		OperatorRemedy: "Compare the clock of this server with the real time: certificates are issued with a start one minute in the past.",
	},
	{
		Code: Expired, Status: http.StatusForbidden, Title: "The certificate has expired",
		Sentence:       "The certificate that this device showed has ended.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation.",
		OperatorRemedy: "Invite the device again: 'postern invite NAME/DEVICE'. A machine enrolled by 'postern join' renews with 'postern renew' before its certificate ends.",
	},
	{
		Code: StaleRoster, Status: http.StatusServiceUnavailable, Title: "Not known here",
		Sentence:       "This server was put back to an earlier state and does not know this device any more, or it is still reading its ledger.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation. If the server has only just started, try again in a minute first.",
		OperatorRemedy: "If an older copy of the ledger was put back, this certificate was lost with the newer part: invite the device again: 'postern invite NAME/DEVICE'. If the ledger is not read in full yet, wait; the log line says which.",
	},
	{
		Code: IssuerDistrusted, Status: http.StatusForbidden, Title: "The issuer is no longer trusted", Alarm: true,
		Sentence:       "The certificate that this device showed comes from an issuer that is no longer trusted, and was never recorded as issued.",
		VisitorRemedy:  askOperator,
		OperatorRemedy: "Somebody signs with the key of a distrusted issuer. Whoever holds that key is inside or was: keep this log line as evidence.",
	},
	{
		Code: NotInLedger, Status: http.StatusForbidden, Title: "A certificate that was never issued", Alarm: true,
		Sentence:       "The certificate that this device showed carries a genuine signature, but it was never issued here.",
		VisitorRemedy:  askOperator,
		OperatorRemedy: "The signature is real and the ledger has no record, so somebody else holds the issuer's key. Treat it as stolen: replace the issuer and keep this log line as evidence.",
	},
	{
		Code: Revoked, Status: http.StatusForbidden, Title: "The certificate was revoked",
		Sentence:       "The certificate that this device showed has been revoked.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation.",
		OperatorRemedy: "'postern show SERIAL' says when and why. To let the device in again, invite it: 'postern invite NAME/DEVICE'.",
	},
	{
		Code: Suspended, Status: http.StatusForbidden, Title: "Access is suspended",
		Sentence:       "Access for this device is suspended.",
		VisitorRemedy:  "Ask the person who runs this site to lift the suspension.",
		OperatorRemedy: "'postern reinstate NAME' lifts it; the certificate then works as before.",
	},
	{
		Code: RevocationUnknown, Status: http.StatusForbidden, Title: "Nobody can say whether it was revoked",
		Sentence:       "The certificate that this device showed comes from a partner whose list of revoked certificates is missing or overdue here.",
		VisitorRemedy:  askOperator,
		OperatorRemedy: "The log line says which list. See that its source under 'trust:' in postern.yaml can be read and is up to date; 'overdue: accept' lets an overdue list count.",
	},
	{
		Code: NoIdentity, Status: http.StatusForbidden, Title: "A certificate without a name",
		Sentence:       "The certificate that this device showed names nobody in this trust domain.",
		VisitorRemedy:  "Choose the certificate of this device, or ask the person who runs this site for an invitation.",
		OperatorRemedy: "The certificate has no spiffe:// name in this trust domain. Issue a new one with 'postern invite' or 'postern issue'.",
	},
	{
		Code: NotOnList, Status: http.StatusForbidden, Title: "Not on the list",
		Sentence:       "This device is known, but it is not on the list of those who may open this site.",
		VisitorRemedy:  "Ask the person who runs this site to add you to its list.",
		OperatorRemedy: "Add the name or one of its groups to the site's 'allow:' list in postern.yaml, or put it into a group that is listed: 'postern group add GROUP NAME'.",
	},
	{
		Code: Condition, Status: http.StatusForbidden, Title: "Not now, or not like this",
		Sentence:       "You are on the list, but the site lets you in under a condition only, such as a time of day, and it does not hold now.",
		VisitorRemedy:  "Ask the person who runs this site when and how it may be used.",
		OperatorRemedy: "The log line quotes the condition, which stands under 'when:' in postern.yaml. What keeps it from being answered, such as a header field that was not sent, counts as no.",
	},
	{
		Code: CrossSite, Status: http.StatusForbidden, Title: "Sent by another page",
		Sentence:       "A page of another site had this device send something here, under your name.",
		VisitorRemedy:  "If you meant to do it, open this site itself and do it there; if not, close the page that you came from.",
		OperatorRemedy: "The log line names the origin. If its pages are meant to send things here, add it under 'cross_site:' of the site or route in postern.yaml; 'cross_site: allow' leaves it to the application.",
	},
	{
		Code: RateLimited, Status: http.StatusTooManyRequests, Title: "Too many requests",
		Sentence:       "More was asked for in a short time than one visitor may have.",
		VisitorRemedy:  "Wait a little and try again.",
		OperatorRemedy: "The log line says which limit was met, and by whom. It stands under 'limits:' in postern.yaml, or is the one on all strangers together.",
	},
	{
		Code: OriginNotAllowed, Status: http.StatusForbidden, Title: "Not from that page",
		Sentence:       "A page of another site asked to use this one, and it is not among those that may.",
		VisitorRemedy:  "Tell the person who runs the page that you came from.",
		OperatorRemedy: "The log line names the origin. If its pages should be able to use the route, add it under 'cors: origins:' in postern.yaml.",
	},
	{
		Code: NotHTTP, Status: http.StatusBadRequest, Title: "This is no web page",
		Sentence:       "You were let in, but what stands behind this name does not speak HTTP, so a browser cannot show it.",
		VisitorRemedy:  "Use the program that this name is meant for, such as a database client.",
		OperatorRemedy: "The site is a tcp site, and nothing of a request reaches what is behind it. If it does speak HTTP, write 'proxy:' in place of 'tcp:'.",
	},
	{
		Code: PlainHTTP, Status: http.StatusBadRequest, Title: "This port speaks HTTPS",
		Sentence:       "The request came without TLS, so there is nobody to let in.",
		VisitorRemedy:  "Write https:// in the address.",
		OperatorRemedy: "A link or a program uses http:// with this port. Nothing of the request was read.",
	},
	{
		Code: OldTLS, Status: http.StatusBadRequest, Title: "The TLS version is too old",
		Sentence:       "The client speaks only versions of TLS that this site does not.",
		VisitorRemedy:  "Use an up-to-date browser or client: TLS 1.3 has been in all of them for years.",
		OperatorRemedy: "If the client cannot be renewed, 'tls_min: \"1.2\"' lets its site speak TLS 1.2, where certificates travel in clear. Older versions are never spoken.",
	},
	{
		Code: HeaderTooLarge, Status: http.StatusRequestHeaderFieldsTooLarge, Title: "The request's header is too large",
		Sentence:       "The header of the request is larger than this server reads.",
		VisitorRemedy:  "Delete the cookies of this site and try again.",
		OperatorRemedy: "Usually cookies that an application lets grow: the limit for a header is 64 KiB.",
	},
	{
		Code: BodyStalled, Status: http.StatusRequestTimeout, Title: "The upload came to a halt",
		Sentence:       "You were let in, but nothing of the announced upload came for too long.",
		VisitorRemedy:  "Try again; if it persists, look at your network.",
		OperatorRemedy: "The client announced a body and then sent nothing of it for a minute. A lost network does that, and so does a program that waits for something else.",
	},
	{
		Code: BodyTooLarge, Status: http.StatusRequestEntityTooLarge, Title: "Too much at once",
		Sentence:       "You were let in, but what was sent is larger than this site takes.",
		VisitorRemedy:  "Send less at once, or ask the person who runs this site to allow more.",
		OperatorRemedy: "The log line says how large it was; 'upstream: {max_body: …}' of the site says how large it may be.",
	},
	{
		Code: UpstreamDown, Status: http.StatusBadGateway, Title: "The application does not answer",
		Sentence:       "You were let in, but the application behind this site does not answer.",
		VisitorRemedy:  "Try again in a minute; if it persists, tell the person who runs this site.",
		OperatorRemedy: "Start the application, or correct its address under 'proxy:' or 'tcp:'. The log line says what was dialled and what came back.",
	},
	{
		Code: UpstreamTimeout, Status: http.StatusGatewayTimeout, Title: "The application takes too long",
		Sentence:       "You were let in, but the application behind this site did not answer in time.",
		VisitorRemedy:  "Try again in a minute; if it persists, tell the person who runs this site.",
		OperatorRemedy: "The application accepted the request and sent no answer in time. Its own log says what it was doing.",
	},
	{
		Code: NotEnrolled, Status: http.StatusForbidden, Title: "Not enrolled",
		Sentence:       "A device asked for its certificate by SCEP, as an installed profile makes it, and did not get one.",
		VisitorRemedy:  "Ask the person who runs this site for a new invitation, and install its profile on the device itself.",
		OperatorRemedy: "What was seen says why. An invitation is good once and for a short time: make a new one with 'postern invite NAME/DEVICE'. A message that cannot be opened was made for another server, or by a program that uses neither RSA and AES nor SHA-256.",
	},
	{
		Code: BadToken, Status: http.StatusForbidden, Title: "The token is not good here",
		Sentence:       "An app sent a token in place of a certificate, and it opens nothing here.",
		VisitorRemedy:  "Ask the person who runs this site for a new token, and copy the whole of it.",
		OperatorRemedy: "What was seen says whether it is unknown, was revoked, has ended, or is for another site. 'postern token list' shows them; 'postern token create NAME SITE' makes one. A site takes them where 'app_tokens:' says how.",
	},
	{
		Code: NotConfigured, Status: http.StatusServiceUnavailable, Title: "This site is not ready",
		Sentence:       "A part that this site needs is missing, so it is closed.",
		VisitorRemedy:  "Try again later, or tell the person who runs this site.",
		OperatorRemedy: "The log line names the missing part; 'postern check' explains what is wrong with the configuration.",
	},
	{
		Code: HandshakeAbandoned, Status: http.StatusBadRequest, Title: "The handshake did not end",
		Sentence:       "The TLS handshake was not completed.",
		VisitorRemedy:  "Try again; if it persists, try another browser.",
		OperatorRemedy: "Browsers open and abandon connections as they please, which is harmless. The log line says what the TLS stack reported.",
	},
}
