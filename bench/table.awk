# Reads mtlsload's lines and prints a Markdown table of medians, a column for each of peers.
function median(k,   i, j, t, a) {
  if (!(k in n)) return "–"
  for (i = 1; i <= n[k]; i++) a[i] = v[k, i]
  for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && a[j] < a[j-1]; j--) { t = a[j]; a[j] = a[j-1]; a[j-1] = t }
  t = a[int((n[k] + 1) / 2)]
  return t >= 100 ? sprintf("%.0f", t) : t >= 10 ? sprintf("%.1f", t) : sprintf("%.2f", t)
}
/server/ {
  x = $0
  if ($2 == "bulk") x = $(NF-2)
  else if ($2 == "idle") x = $(NF-1)
  else { sub(/.*server +/, "", x); sub(/ .*/, "", x) }
  k = $1 " " $2; n[k]++; v[k, n[k]] = x + 0
}
END {
  count = split(peers, p, " ")
  line = "| |"; rule = "|---|"
  for (i = 1; i <= count; i++) { line = line " " p[i] " |"; rule = rule "--:|" }
  print line; print rule
  split("handshake resume get h2get static bulk idle", m, " ")
  split("full handshake and one GET;resumed handshake and one GET;proxied GET, HTTP/1.1 keep-alive;proxied GET, HTTP/2;small static file;10 MiB responses, CPU s/GiB;memory per idle connection, KiB", t, ";")
  for (j = 1; j <= 7; j++) {
    line = "| " t[j] " |"
    for (i = 1; i <= count; i++) line = line " " median(p[i] " " m[j]) " |"
    print line
  }
}
