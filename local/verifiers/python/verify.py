# Verifies tokens from standard input, one JSON string a line, and answers each with a
# line: "" if it accepts the token, or the reason why not.
import json
import sys

import jwt

issuer, audience = sys.argv[1:]
keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json")
options = {"require": ["exp"]}  # without it, PyJWT accepts a token without exp


def verify(token):
    try:
        key = keys.get_signing_key_from_jwt(token).key
        jwt.decode(token, key, ["RS256"], options, issuer=issuer, audience=audience)
    except jwt.PyJWTError as error:
        return str(error) or repr(error)
    return ""


for line in sys.stdin:
    print(json.dumps(verify(json.loads(line))), flush=True)
