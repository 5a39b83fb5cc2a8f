# make        builds ./postern
# make test   installs what the tests need and runs all of them
# make bench  the Go benchmarks (beside other servers: bench/run)
# make bench-cut   how fast 10,000 live connections are cut
# make soak   ten minutes at full load; SOAK=1m for less
# make attack    the attacks of internal/attack in their long form; ATTACK_SHARE=0.1 takes a tenth of it
# make mutants   takes away one defence after the other: the attack must get through
# make judges    other people's suites and tools; WYCHEPROOF=FILE adds Wycheproof's vectors
# make fuzz   every fuzz test, a minute each
# make dist   builds ./dist for Linux, macOS and Windows, amd64 and arm64
# make keymaker  builds the join page's script again (needs npm)

GO ?= go
FUZZTIME ?= 60s
SOAK ?= 10m
export PATH := $(PATH):/usr/sbin

.PHONY: build test tools lint unit allocs fuzz fuzz-smoke bench bench-cut soak attack mutants cover judges keymaker dist clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o postern ./cmd/postern

test: tools lint unit allocs fuzz-smoke

tools:
	@scripts/test-tools

lint:
	@test -z "$$(gofmt -l cmd internal)" || { gofmt -l cmd internal; echo "run gofmt -w on these files"; exit 1; }
	$(GO) mod verify >/dev/null
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@scripts/vulncheck

unit:
	$(GO) test -race -timeout 20m ./...

# allocations per operation, beside the recorded ones
allocs:
	@scripts/allocs

# every fuzz test over its seeds and a little new input; 'make fuzz' looks for more
fuzz-smoke:
	@scripts/fuzz 1000x

fuzz:
	@scripts/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

dist:
	@scripts/dist

keymaker:
	@scripts/keymaker

bench-cut:
	$(GO) test -run '^$$' -bench CutAmong -benchtime 1x ./internal/gateway

soak:
	$(GO) test -tags soak -run TestSoak -timeout 60m -v ./cmd/postern -soak $(SOAK)

attack:
	ATTACK=long $(GO) test -count=1 -timeout 120m -v ./internal/attack

mutants:
	@scripts/mutants

judges:
	$(GO) test -count=1 -tags judges -run BetterTLS -v ./internal/chain
ifdef WYCHEPROOF
	WYCHEPROOF=$(abspath $(WYCHEPROOF)) $(GO) test -count=1 -tags judges -run Wycheproof -v ./internal/jws
else
	@echo 'Wycheproof: give WYCHEPROOF=FILE, testvectors_v1/json_web_signature_test.json of github.com/C2SP/wycheproof'
endif

clean:
	rm -rf postern dist
