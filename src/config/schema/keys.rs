//! The keys, section by section, in the order of `docs/configuration.md`.

use super::shape::Shape::{
    Any, Count, Either, Flag, Free, List, Named, OneOf, Size, Table, Tables, Text, Time, Words,
};
use super::shape::{Shape, TableKey, key};

const TEXTS: Shape = List(&Text);

/// No limit that counts may be larger than this.
const MOST: u64 = 1_000_000;

const RATE: Shape = Count(1, MOST);

pub(super) const ROOT: &[TableKey] = &[
    key("$schema", Text, "Where the JSON Schema of this file is, for editors. The server does not read it."),
    key("listen", TEXTS, "Where to listen: IP:PORT, [IPV6]:PORT, *:PORT or unix:PATH; one, or a list.")
        .default("\"127.0.0.1:8085\""),
    key("listeners", Tables(&Table(LISTENER)), "Addresses with TLS or a name, beside or in place of listen."),
    key("auth", Table(AUTH), "Who may call. Without it, whoever shows the token that the first start makes."),
    key(
        "tokens",
        Tables(&OneOf(TOKEN, &["file", "hash"])),
        "Callers by name, known by a token of their own.",
    ),
    key("peers", Tables(&OneOf(PEER, &["uid", "gid"])), "Callers by name, known as users of a Unix socket."),
    key(
        "certificates",
        Tables(&OneOf(CERTIFICATE, &["subject", "san"])),
        "Callers by name, known by a client certificate.",
    ),
    key("pwsh", Table(PWSH), "The PowerShell that workers run in."),
    key("pool", Table(POOL), "The workers."),
    key("limits", Table(LIMITS), "What a request may take, and what a caller may ask for."),
    key("cache", Table(CACHE), "How large the cache may become."),
    key("credentials", Table(CREDENTIALS), "A socket that systemd loads credentials from."),
    key("audit", Table(AUDIT), "Where the audit trail goes."),
    key(
        "registry",
        Words(&["private", "user"]),
        "Where vaults are registered while they are served: where nobody else sees them, or in your own registry too.",
    )
    .default("\"private\""),
    key("auto_import", Table(AUTO_IMPORT), "Vaults that you registered in PowerShell."),
    key("vaults", Named(&OneOf(VAULT, &["local", "module"])), "Vaults, each under its friendly name."),
    key("secrets", Named(&Table(SECRET)), "Mounted secrets: a key of a vault under a name of its own."),
    key("routes", Tables(&OneOf(ROUTE, &["secret", "respond", "update", "remove"])), "Routes of your own."),
];

const LISTENER: &[TableKey] = &[
    key("address", Text, "Where to listen, as in listen.").example("\"0.0.0.0:8443\"").required(),
    key(
        "tls",
        Either(&[Words(&["self-signed"]), Table(TLS)]),
        "PEM files, or \"self-signed\", made at start.",
    )
    .example("{ certificate = \"chain.pem\", key = \"key.pem\" }"),
    key("name", Text, "A name for it.").example("\"outside\""),
];

const TLS: &[TableKey] = &[
    key("certificate", Text, "The PEM file of the chain, the server's own certificate first.").required(),
    key("key", Text, "The PEM file of its key.").required(),
    key("client_ca", Text, "A PEM file of authorities whose certificates clients may show."),
];

const AUTH: &[TableKey] = &[
    key(
        "token_file",
        Text,
        "A file with the bearer token or its hash, mode 0600. Who shows it may do everything.",
    )
    .example("\"token\""),
    key("token_env", Text, "An environment variable that holds the token.").example("\"BRIDGE_TOKEN\""),
    key("open", Flag, "Anyone that can connect may call, but no web page of another origin.")
        .default("false"),
    key("allow_host", TEXTS, "More names under which the server may be called, such as a proxy's.")
        .example("[\"secrets.example\"]"),
    key("allow_origin", TEXTS, "Origins whose web pages may call.").example("[\"https://app.example\"]"),
];

const NAME: TableKey = key("name", Text, "Who that is; the audit trail shows it.").required();

const ALLOW: TableKey = key(
    "allow",
    TEXTS,
    "What the caller may do: \"read,write,list,delete VAULT/KEY\", or \"* …\" for every verb; * in a place stands for \
     any characters.",
)
.example("[\"read,list team/ci-*\"]")
.required();

const TOKEN: &[TableKey] = &[
    NAME,
    key("file", Text, "A file with the token or its hash, mode 0600.").example("\"ci.token\""),
    key("hash", Text, "What `secretbridge token hash` prints, in place of file."),
    ALLOW,
];

const ID: Shape = Count(0, u32::MAX as u64);

const PEER: &[TableKey] = &[
    NAME,
    key("uid", ID, "The user's number.").example("1001"),
    key("gid", ID, "The number of the user's first group."),
    ALLOW,
];

const CERTIFICATE: &[TableKey] = &[
    NAME,
    key("subject", Text, "The certificate's whole subject.").example("\"CN=backup\""),
    key("san", Text, "A DNS name, URI or mail address that it is made out to.").example("\"backup.example\""),
    ALLOW,
];

const PWSH: &[TableKey] = &[
    key("path", Text, "The program. Without it, SECRETBRIDGE_PWSH names it, then PATH is searched.")
        .example("\"/opt/microsoft/powershell/7/pwsh\""),
    key("module_path", TEXTS, "Folders put before PSModulePath.").example("[\"modules\"]"),
    key(
        "init",
        List(&Either(&[Text, Table(&[key("file", Text, "A script.").required()])])),
        "Scripts that run in every worker before its vaults are registered: text, or { file = \"…\" }.",
    )
    .example("[\"Connect-AzAccount -Identity -Scope Process\"]"),
    key("user", Text, "Run workers as this user, and serve that user's vaults; Linux, and only root may.")
        .example("\"vaults\""),
    key("home", Text, "That user's home, in place of the one that the system knows.")
        .example("\"/var/lib/vaults\""),
];

const POOL: &[TableKey] = &[
    key("min", Count(1, 256), "Workers that are always there. Without it, one for each core, at most 4.")
        .example("1"),
    key("max", Count(1, 256), "Workers at most; more than min start when requests wait. Without it, as min.")
        .example("4"),
    key("queue", Count(1, MOST), "Requests that may wait for a worker; one more is answered 503.")
        .default("256"),
    key("max_calls", Count(1, 1_000_000_000), "Recycle a worker after so many calls.").default("100000"),
    key("max_age", Time, "Recycle a worker of this age.").default("\"12h\""),
    key("max_memory", Size, "Recycle a worker that uses more memory.").default("\"1GiB\""),
    key("start_limit", Time, "How long a worker may take from launch to ready.").default("\"60s\""),
];

const LIMITS: &[TableKey] = &[
    key("deadline", Time, "From a request's head to its answer; then 504.").default("\"30s\""),
    key("write_grace", Time, "Extra time for a write that has begun.").default("\"10s\""),
    key("drain", Time, "How long a stop takes at most.").default("\"30s\""),
    key("max_body", Size, "The largest request body; then 413.").default("\"8MiB\""),
    key("max_connections", Count(1, MOST), "Connections of each listener at once.").default("1024"),
    key("max_connections_per_peer", Count(1, MOST), "Of these, connections of one address.").default("512"),
    key("first_byte_timeout", Time, "Time for a client that has connected to send its first byte.")
        .default("\"10s\""),
    key("header_timeout", Time, "Time for a client to send a request's head.").default("\"10s\""),
    key("idle_timeout", Time, "Time between two requests of a connection.").default("\"30s\""),
    key("rate_per_caller", RATE, "Requests a second of one caller; more are answered 429.").example("50"),
    key("rate_per_address", RATE, "Requests a second from one address; more are answered 429.").example("50"),
    key("concurrent_per_caller", RATE, "Requests of one caller at once; more are answered 429.")
        .example("20"),
    key("concurrent_per_address", RATE, "Requests from one address at once; more are answered 429.")
        .example("20"),
    key("max_fields", Count(1, MOST), "Fields of a form or a query; then 413.").default("1000"),
    key("max_parts", Count(1, MOST), "Parts of a multipart form; then 413.").default("1000"),
    key("max_depth", Count(1, MOST), "Objects in objects of JSON, elements in elements of XML.")
        .default("64"),
    key("max_digits", Count(1, MOST), "Digits of a number in JSON.").default("1000"),
    key("max_rows", Count(1, MOST), "Rows of CSV; then 413.").default("10000"),
    key("max_values", Count(1, MOST), "Values of JSON, elements of XML, cells of CSV; then 413.")
        .default("50000"),
];

const CACHE: &[TableKey] = &[
    key("max_entries", Count(1, 10_000_000), "Values at most.").default("10000"),
    key("max_bytes", Size, "Bytes at most.").default("\"64MiB\""),
];

const CREDENTIALS: &[TableKey] = &[
    key("socket", Text, "Where it is; LoadCredential= of the units names it.")
        .example("\"/run/secretbridge/credentials.sock\"")
        .required(),
    key(
        "units",
        Named(&Free),
        "For each unit, by its name: credential = \"vault/key\". The vault has to be exposed.",
    )
    .example("{ \"app.service\" = { db = \"local/db\" } }"),
];

const AUDIT: &[TableKey] = &[
    key("file", Text, "The file to append to; mode 0600.").example("\"audit.jsonl\""),
    key("to", Words(&["stderr", "none"]), "In place of file: standard error, or no trail.")
        .default("\"stderr\""),
    key("chain", Flag, "Each line holds a digest of itself and the one before.").default("false"),
];

const AUTO_IMPORT: &[TableKey] = &[
    key("enabled", Flag, "Look them up.").default("true"),
    key("expose", TEXTS, "Vaults to serve: \"Name\" for reading, \"Name:rw\" for writing too.")
        .example("[\"Team\", \"Mine:rw\"]"),
];

const VAULT: &[TableKey] = &[
    key("local", Flag, "A local vault: an encrypted file, which needs no PowerShell.").default("false"),
    key("folder", Text, "Of a local vault: where its file and key are.").example("\"data\""),
    key("key", Text, "Of a local vault: the file with its key, where that is not in the folder.")
        .example("\"credential:local-key\""),
    key("module", Text, "The SecretManagement extension module: its name or path.")
        .example("\"Az.KeyVault\""),
    key("vault_name", Text, "The name that it is registered under."),
    key("parameters", Free, "VaultParameters of Register-SecretVault.")
        .example("{ AZKVaultName = \"team\", SubscriptionId = \"…\" }"),
    key(
        "unlock",
        OneOf(
            &[
                key("env", Text, "An environment variable that holds the password."),
                key("file", Text, "A file that holds the password, mode 0600."),
            ],
            &["env", "file"],
        ),
        "Where its password is: { env = \"NAME\" } or { file = \"password.txt\" }.",
    )
    .example("{ file = \"password.txt\" }"),
    key("unlock_interval", Time, "Unlock at least this often.").default("0"),
    key("unlock_at_start", Flag, "Unlock it when it is registered.").default("true"),
    key("parallel", Flag, "Calls may run in several workers at once.").example("true"),
    key("keep_metadata", Flag, "Send the present metadata again with a write that names none.")
        .default("false"),
    key(
        "verify",
        Flag,
        "Read before and after each write, to know what it came to. Without it true, but for Az.KeyVault.",
    )
    .example("false"),
    key(
        "probe",
        Either(&[Flag, Time]),
        "Ask Test-SecretVault how the vault is: after a failed call, and after so long without one.",
    )
    .default("true")
    .example("\"30s\""),
    key("repair", Flag, "Write again what another program erased.").default("false"),
    key("cache_ttl", Time, "How long a value that was read is kept; 0 keeps none.").default("0"),
    key("refresh_ahead", Time, "A read in this last part of cache_ttl begins the next load.").default("0"),
    key("max_stale", Time, "How long beyond cache_ttl a value is served where the vault fails.").default("0"),
    key("negative_ttl", Time, "How long it is kept that there is no such secret.").default("\"1s\""),
    key("read_only", Flag, "Refuse writes and removals.").default("false"),
    key("expose", Flag, "Serve it under /vaults/NAME/secrets/{key}.").default("false"),
];

const SECRET: &[TableKey] = &[
    key("vault", Text, "The vault's friendly name, or one of auto_import.expose.").required(),
    key("key", Text, "The key in the vault. Without it, the mount's name.").example("\"db-password\""),
    key("property", TEXTS, "Of a table, show these members, as a table.").example("[\"user\", \"pass\"]"),
    key("expand_property", Text, "Of a table, show this member by itself.").example("\"pass\""),
    key("cache_ttl", Time, "In place of the vault's.").example("\"10m\""),
    key("prefetch", Flag, "Read it at start.").default("false"),
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const ROUTE: &[TableKey] = &[
    key("method", Words(METHODS), "The method.").default("\"GET\""),
    key("path", Text, "The path: {name} stands for a part, {*rest} at the end for all that is left.")
        .example("\"/secret\"")
        .required(),
    key("secret", Text, "A mounted secret: read by GET, written by POST, PUT and PATCH, removed by DELETE."),
    key("respond", Any, "Answer with this; { secret = \"Name\" } stands for that secret's value."),
    key("update", Text, "Write a field of the body to this secret, whatever the method."),
    key("remove", Text, "Remove this secret, whatever the method."),
    key("field", Text, "With secret or update: the name of the member or field.").default("\"Value\""),
];
