# The phone function's commands; make alone lists them.

# Go fetches the toolchain that go.mod names, whatever this machine has.
export GOTOOLCHAIN = auto

# The caller's Go settings and a go.work in a folder above must neither change the
# bootstrap nor break a command. A value overrides go env -w too; an unset variable
# does not.
export GOFLAGS = -buildvcs=false
export GOWORK = off
export GO111MODULE = on
export GOAMD64 = v1
export GOARM64 = v8.0
export GOFIPS140 = off
unexport GOOS GOARCH GOEXPERIMENT CGO_ENABLED

EVENT    = events/phone.json
HOST     = 127.0.0.1
PORT     = 3000
FUZZTIME = 5s

# make deploy runs sam build, which calls this Makefile again and passes the environment on.
export ENV ?= dev
export TRAFFIC

MINIPROGRAM_TEST = examples/miniprogram/test
STAGE_TEST       = local/browser/test
VERIFIERS        = local/verifiers

SAM_LOCAL = --env-vars events/env.json --add-host host.docker.internal:host-gateway

# make release VERSION=… sets it. The environment does not.
VERSION = dev

# Every build uses these flags. The binary is static and stripped. Its bytes are the
# same from a checkout and from SAM's copy of it, which has no .git.
GO_BUILD = CGO_ENABLED=0 go build -trimpath -tags lambda.norpc -ldflags "-s -w -X main.version=$(VERSION)"

# The linters, at the versions that their go.mod names.
LINT = go tool -modfile="$(CURDIR)/tools/lint/go.mod"

# Go's test cache does not notice a new bootstrap. The tests wait more than they compute,
# so more of them run at once than there are processors.
GO_TEST = go test -count=1 -parallel 8

# What to install if a program is missing.
GET_go  = Go 1.21 or later: https://go.dev/dl/
GET_npm = Node.js 18 or later, with npm: https://nodejs.org/
GET_aws = the AWS CLI, version 2: https://aws.amazon.com/cli/
GET_sam = the SAM CLI: https://docs.aws.amazon.com/serverless-application-model/ (Install)
GET_chromium = the Debian package chromium

.DEFAULT_GOAL := help
.PHONY: help run start invoke check test test-miniprogram test-stage test-verifiers test-release soak bench \
	vet lint lint-security vulncheck fuzz build build-PhoneFunction release \
	sam-invoke sam-start deploy restart secret key smoke logs delete \
	build/local/bootstrap build/local/stage build/local/samconfig \
	have-apache have-aws have-chinese-font have-chromium have-go have-npm have-pyjwt have-sam known-env

help: ## list the commands
	@awk -F ':.*## ' '/^## /{print "\n" substr($$0, 4)} \
		/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' Makefile

## Try it on this machine

run: build/local/stage build/local/bootstrap ## log in, tap, get a phone number and a token, offline
	build/local/stage -bootstrap build/local/bootstrap -login

start: build/local/stage build/local/bootstrap ## keep the function up on :3000, a page on :3001 (PORT=3050; HOST=0.0.0.0)
	build/local/stage -bootstrap build/local/bootstrap -host $(HOST) -port $(PORT) -route "POST /phone" -route "POST /login" \
		-route "GET /.well-known/openid-configuration" -route "GET /.well-known/jwks.json"

invoke: build/local/stage build/local/bootstrap ## send one event to the function (EVENT=events/phone.json)
	@WATERMARK_MAX_AGE=0 build/local/stage -bootstrap build/local/bootstrap -event "$(EVENT)"

sam-invoke: | have-sam ## send the event with SAM CLI and Docker (beside make start HOST=0.0.0.0)
	sam build
	sam local invoke PhoneFunction --event "$(EVENT)" $(SAM_LOCAL)

sam-start: | have-sam ## serve on :3010 with SAM CLI and Docker (beside make start HOST=0.0.0.0)
	sam build
	sam local start-api --port 3010 $(SAM_LOCAL)

## Test it

# Go reuses the results of tests whose packages and files have not changed. docs/checks
# also runs make and shell scripts, and Go does not see their files.
check: build/local/bootstrap vet ## check the format, vet, and run the fast tests of what changed (seconds)
	@export BOOTSTRAP="$$PWD/$<"; \
	go test -parallel 8 -p 4 -short $$(go list ./... | grep -v /docs/checks); code=$$?; \
	$(GO_TEST) -short ./docs/checks && exit $$code

test: build/local/bootstrap ## prove the contract
	BOOTSTRAP="$$PWD/$<" $(GO_TEST) ./...
	@python3 -c 'import samtranslator' 2>/dev/null || \
		echo "skipped: the templates as SAM translates them, because aws-sam-translator is not installed"
	@command -v cfn-lint >/dev/null || \
		echo "skipped: cfn-lint, because it is not installed"
	@command -v openssl >/dev/null || \
		echo "skipped: a connection to OpenSSL's server, because openssl is not installed"

test-miniprogram: build/local/stage build/local/bootstrap ## test the mini-program against the function (needs npm)
	cd $(MINIPROGRAM_TEST) && npm test --silent

test-stage: build/local/stage build/local/bootstrap ## tap the stage's page in Chromium (needs npm; UPDATE=1 takes screenshots)
	cd $(STAGE_TEST) && npm test --silent

test-verifiers: build/local/bootstrap ## test tokens with third-party libraries, Apache, examples/backend (needs npm)
	bootstrap="$$PWD/$<" && cd $(VERIFIERS) && BOOTSTRAP="$$bootstrap" go test -count=1 ./...

test-miniprogram: $(MINIPROGRAM_TEST)/node_modules/.package-lock.json
test-stage: have-go have-chromium have-chinese-font $(STAGE_TEST)/node_modules/.package-lock.json
test-verifiers: $(VERIFIERS)/node/node_modules/.package-lock.json | have-apache have-pyjwt
%/node_modules/.package-lock.json: %/package-lock.json | have-npm
	cd $* && npm ci --silent

test-release: build/local/bootstrap ## make a release twice, compare, deploy it to the stage (minutes; Linux)
	BOOTSTRAP="$$PWD/$<" go test -tags release -count=1 -run '^TestRelease$$' ./docs/checks

vet:
	@list=$$(go run cmd/gofmt -l .) && { test -z "$$list" || { echo "gofmt would change: $$list"; exit 1; }; }
	go vet ./...
	go vet -tags soak ./local/soak
	go vet -tags release ./docs/checks

lint: vet ## check the format, vet, and run staticcheck
	$(LINT) staticcheck ./...
	cd $(VERIFIERS) && go vet ./... && $(LINT) staticcheck ./...

lint-security: ## run gosec, and actionlint on the workflows
	$(LINT) gosec -quiet -conf tools/lint/gosec.json ./...
	$(LINT) actionlint

vulncheck: ## look for known vulnerabilities in what the code calls (asks vuln.go.dev)
	$(LINT) govulncheck -test ./...

fuzz: ## run each fuzz target for a while (FUZZTIME=5s)
	go test -run '^$$' -fuzz '^FuzzEvent$$' -fuzztime $(FUZZTIME) ./functions/phone
	go test -run '^$$' -fuzz '^FuzzRequest$$' -fuzztime $(FUZZTIME) ./functions/phone
	go test -run '^$$' -fuzz '^FuzzAnswer$$' -fuzztime $(FUZZTIME) ./shared/wechat
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME) ./shared/opendata
	go test -run '^$$' -fuzz '^FuzzOpenPhone$$' -fuzztime $(FUZZTIME) ./shared/opendata
	go test -run '^$$' -fuzz '^FuzzCheck$$' -fuzztime $(FUZZTIME) ./shared/identity
	go test -run '^$$' -fuzz '^FuzzParseKeys$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./shared/identity

soak: build/local/bootstrap ## run the soak tests: load, freezes, re-reads, timing (minutes; Linux)
	BOOTSTRAP="$$PWD/$<" go test -tags soak -count=1 -v -parallel 32 -bench . -benchtime 20000x -timeout 60m ./local/soak

bench: ## measure what docs/performance.md promises (minutes; Linux; AGAINST=FILE)
	@$(GO_BUILD) -o build/bench/ ./functions/phone ./tools/bench/reference
	go run ./tools/bench $(if $(AGAINST),-against "$(AGAINST)") $(BENCH)

## Deploy it (needs the SAM CLI and an AWS account; build, release and smoke do not)

build: ARTIFACTS_DIR = build/lambda
build: build-PhoneFunction ## build the bootstrap for Lambda, in build/lambda (ARCH=x86_64 or arm64)

# The bytes depend on the Go version, so this uses the one that go.mod names, even if
# this machine has a newer one.
release: export GOTOOLCHAIN = $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)
release: | have-go ## write a release to dist/ (VERSION=1.0.0)
	go run ./tools/release -version "$(VERSION)" env $(GO_BUILD)

# sam build calls this with ARTIFACTS_DIR. It does not say which architecture it
# builds for, so this reads the architecture of ENV from samconfig.toml.
build-PhoneFunction: build/local/samconfig
	@arch=$${ARCH:-$$(build/local/samconfig -env "$$ENV" Architecture)} || exit; \
	case "$${arch:=x86_64}" in \
	x86_64) goarch=amd64 ;; \
	arm64) goarch=arm64 ;; \
	*) echo "ARCH must be x86_64 or arm64, not $$arch" >&2; exit 2 ;; \
	esac; \
	GOOS=linux GOARCH=$$goarch $(GO_BUILD) -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/phone

# Pass every parameter: SAM keeps the stack's value of any parameter that it is not
# given. Traffic would otherwise keep the value of the last fix or restart.
deploy: known-env | have-sam ## build and deploy (ENV=dev or prod; TRAFFIC=at-once while an alarm fires)
	sam validate --config-env "$$ENV"
	sam build --config-env "$$ENV"
	parameters=$$(build/local/samconfig -env "$$ENV" -traffic "$$TRAFFIC") && \
		sam deploy --config-env "$$ENV" --parameter-overrides "$$parameters" $(FLAGS)

# This changes nothing else about the stack, whatever the working tree holds.
restart: known-env | have-aws ## restart all of the function's processes, as deployed (ENV=dev or prod)
	@stack=$$(build/local/samconfig -env "$$ENV" -stack) && \
	names=$$(aws cloudformation describe-stacks --stack-name "$$stack" \
		--query 'Stacks[0].Parameters[].ParameterKey' --output text) && \
	set -- "ParameterKey=Restart,ParameterValue=$$(date +%s)" ParameterKey=Traffic,ParameterValue=at-once && \
	for name in $$names; do case $$name in \
		Restart | Traffic) ;; \
		*) set -- "$$@" "ParameterKey=$$name,UsePreviousValue=true" ;; \
	esac; done && \
	aws cloudformation update-stack --stack-name "$$stack" --use-previous-template \
		--capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --parameters "$$@" >/dev/null && \
	echo "Restarting the function of $$stack. This takes a minute or two." && \
	aws cloudformation wait stack-update-complete --stack-name "$$stack" && \
	echo "New processes serve all requests from now on."

secret: known-env | have-sam ## add or replace a mini-program (FLAGS=-list; FLAGS=-remove=wx…)
	@go run ./tools/secret -env "$$ENV" $(FLAGS)

key: known-env | have-sam ## make or rotate the signing keys (FLAGS=-show; FLAGS=-revoke=KID or =all)
	@go run ./tools/key -env "$$ENV" $(FLAGS)

smoke: | have-go ## test a deployment without a user (URL=https://…/phone; APPID=; CONNECT=)
	@go run ./tools/smoke $(if $(APPID),-appid "$(APPID)") $(if $(CONNECT),-connect "$(CONNECT)") $(URL)

logs: known-env | have-sam ## follow the logs of the function and of the gateway (ENV=dev)
	sam logs --config-env "$$ENV" --tail

delete: known-env | have-sam ## delete the stack, but not the secrets that it created (ENV=dev)
	sam delete --config-env "$$ENV"

# Built for this machine.

build/local/bootstrap: | have-go
	@$(GO_BUILD) -o $@ ./functions/phone

build/local/stage: | have-go
	@$(GO_BUILD) -o $@ ./local

build/local/samconfig: | have-go
	@$(GO_BUILD) -o $@ ./tools/samconfig

# Prerequisites: a command without one fails with a single line.

known-env: build/local/samconfig
	@build/local/samconfig -env "$$ENV" -traffic "$$TRAFFIC" >/dev/null

have-chinese-font:
	@test -n "$$(fc-list :lang=zh 2>/dev/null)" || { echo "A font with Chinese characters is missing." \
		"Install the Debian packages fontconfig and fonts-wqy-microhei" >&2; exit 1; }

have-aws have-chromium have-npm have-sam: have-%:
	@command -v $* >/dev/null || { echo "$* is missing. Install $(GET_$*)" >&2; exit 1; }

have-apache:
	@test -e /usr/lib/apache2/modules/mod_auth_openidc.so || { echo "Apache's mod_auth_openidc is missing." \
		"Install the Debian packages apache2-bin and libapache2-mod-auth-openidc" >&2; exit 1; }

have-pyjwt:
	@/usr/bin/python3 -c 'import jwt, cryptography' 2>/dev/null || { echo "PyJWT is missing." \
		"Install the Debian packages python3-jwt and python3-cryptography" >&2; exit 1; }

have-go:
	@command -v go >/dev/null || { echo "go is missing. Install $(GET_go)" >&2; exit 1; }
	@why=$$(go list -m 2>&1) || { why=$$(echo "$$why" | tail -n 1); \
		echo "go cannot get the Go version that go.mod needs ($$why). Install it: https://go.dev/dl/" >&2; exit 1; }

bench vet lint lint-security vulncheck fuzz: | have-go
