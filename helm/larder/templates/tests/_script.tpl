{{/*
Stores a blob and reads it again; where credentials are needed and none were given, it must be turned away, and where a certificate is
needed and none was given, before it can ask at all: then curl has no status, and ends otherwise than where nothing listens (7), no name
is found (6) or nothing answers (28). The server's certificate is not checked: the name of the service may be another than that of
clients outside.
*/}}
{{- define "larder.testScript" -}}
blob="helm test $(hostname) $$"
hash=$(printf %s "$blob" | sha256sum | cut -d' ' -f1)
ask() {
    curl --silent --show-error --insecure --max-time 20 --retry 5 --retry-connrefused \
        ${AUTHORIZATION:+--header "authorization: $AUTHORIZATION"} \
        ${CERTIFICATE:+--cert "$CERTIFICATE/tls.crt" --key "$CERTIFICATE/tls.key"} --write-out '%{http_code}' "$@" "$CACHE/cas/$hash"
}
ended=0
status=$(ask --output /dev/null --request PUT --data-binary "$blob") || ended=$?
if [ "$EXPECTED" = "no connection" ]; then
    echo "PUT without a certificate: $status, curl ended with $ended"
    [ "$status" = 000 ] || exit 1
    case $ended in 0 | 6 | 7 | 28) exit 1 ;; esac
    exit 0
fi
if [ "$EXPECTED" = "turned away" ]; then
    echo "PUT without credentials: $status"
    [ "$status" = 401 ] || [ "$status" = 403 ]
    exit
fi
echo "PUT: $status"
[ "$status" = 200 ] || [ "$status" = 201 ] || [ "$status" = 204 ]
answer=$(ask)
echo "GET: $answer"
[ "$answer" = "${blob}200" ]
{{- end }}
