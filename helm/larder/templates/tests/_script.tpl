{{/*
Stores a blob and reads it again; where credentials are needed and none were given, it must be turned away. The certificate is not
checked: the name of the service may be another than that of clients outside.
*/}}
{{- define "larder.testScript" -}}
blob="helm test $(hostname) $$"
hash=$(printf %s "$blob" | sha256sum | cut -d' ' -f1)
ask() {
    curl --silent --show-error --insecure --max-time 20 --retry 5 --retry-connrefused \
        ${AUTHORIZATION:+--header "authorization: $AUTHORIZATION"} --write-out '%{http_code}' "$@" "$CACHE/cas/$hash"
}
status=$(ask --output /dev/null --request PUT --data-binary "$blob")
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
