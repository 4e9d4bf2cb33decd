//! The program as a process: its output, and its exit codes on wrong usage.
//!
//! Every run has its own environment and directory.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Lets the program serve although it was built with the feature `simulation`, as all tests are.
const SIMULATION_MAY_SERVE: (&str, &str) = ("SIMULATION_BUILD_MAY_SERVE", "1");

/// Runs the program in `dir` with these variables and `input` on standard input; `serve` is allowed.
fn run_in(dir: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
    let variables = [variables, &[SIMULATION_MAY_SERVE]].concat();
    run_bare(dir, arguments, &variables, input)
}

/// Runs the program in `dir` with these variables alone and `input` on standard input.
fn run_bare(dir: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_balance-coordinator"))
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Ignore errors: a program that refuses its arguments may exit before it reads.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("the program ends")
}

fn run(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    run_in(dir.path(), arguments, variables, input)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn sign_prints_the_signature_of_the_exact_bytes() {
    // The first is the example from the tests of the Standard Webhooks libraries; the others were
    // made by `openssl dgst -sha256 -mac HMAC`.
    for (id, timestamp, body, signature) in [
        (
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            &br#"{"test": 2432232314}"#[..],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "e",
            "1700000000",
            b"",
            "v1,ugiK7tJtF1M/log+ubNlE8s0rTLGFCNGcCHXvSJZbF0=",
        ),
        (
            "e",
            "1700000000",
            b"\xff\x00\n",
            "v1,jXUIgl8GYmll2lsqksCMKrMuGtmUFR/u/xhqyviCeF4=",
        ),
    ] {
        let output = run(
            &[
                "sign",
                "--secret",
                SECRET,
                "--id",
                id,
                "--timestamp",
                timestamp,
            ],
            &[],
            body,
        );
        assert_eq!(
            text(&output.stdout),
            format!("{signature}\n"),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(0), String::new())
        );
    }
}

#[test]
fn bad_usage_ends_with_2_and_says_what_is_wrong() {
    let sign = |secret, id, timestamp| {
        [
            "sign",
            "--secret",
            secret,
            "--id",
            id,
            "--timestamp",
            timestamp,
        ]
    };
    for (arguments, message) in [
        (&[][..], "Usage"),
        (&["nope"], "nope"),
        (&["serve", "--nope"], "--nope"),
        (&["token"], "--user"),
        (&["token", "--user", "0"], "must be an integer from 1"),
        (&["token", "--user", "1", "--check", "-"], "--check"),
        (&["token", "--ttl-s", "1", "--check", "-"], "--check"),
        (&["token", "--user", "1", "--ttl-s", "0"], "--ttl-s"),
        (&["sign", "--id", "a", "--timestamp", "1"], "--secret"),
        (&sign("whsec_short", "a", "1"), "--secret: must be whsec_"),
        (
            &sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a", "1"),
            "--secret: must be whsec_",
        ),
        (&sign(SECRET, "", "1"), "--id: must be"),
        (&sign(SECRET, "a b", "1"), "--id: must be"),
        (&sign(SECRET, "a", ""), "--timestamp: must be"),
        (&sign(SECRET, "a", "+1"), "--timestamp: must be"),
        (&sign(SECRET, "a", "1.5"), "--timestamp: must be"),
    ] {
        let output = run(arguments, &[], b"");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(message), "{message} in: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_of_the_cluster_that_is_missing_is_named_by_its_key() {
    let secrets = [
        ("BALANCE_AUTH__WEBHOOK_SECRETS", SECRET),
        (
            "BALANCE_AUTH__SESSION_SECRETS",
            "0123456789abcdefghijklmnopqrstuv",
        ),
        ("BALANCE_AUTH__ADMIN_TOKENS", "token"),
        ("BALANCE_DATABASE__URL", "postgres://127.0.0.1:1/db"),
        ("BALANCE_CLUSTER__URL", "nats://127.0.0.1:1"),
    ];
    for name in ["CREDENTIALS_FILE", "TLS_CA_FILE"] {
        let variable = format!("BALANCE_CLUSTER__{name}");
        let variables = [&secrets[..], &[(variable.as_str(), "nowhere.pem")]].concat();
        let output = run(&["serve"], &variables, b"");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        let message = format!("cluster.{}: nowhere.pem: ", name.to_lowercase());
        assert!(error.contains(&message), "{message} in: {error}");
    }
}

#[test]
fn a_refused_secret_is_not_repeated() {
    let refused = "whsec_geheimgeheim!";
    let output = run(
        &["sign", "--secret", refused, "--id", "a", "--timestamp", "1"],
        &[],
        b"",
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !text(&output.stderr).contains("geheim"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn every_command_ends_with_2_when_the_configuration_is_bad() {
    for command in [
        &["serve"][..],
        &["serve", "--dev"],
        &["migrate"],
        &["verify"],
        &["token", "--user", "184"],
    ] {
        for (name, value, message) in [
            (
                "BALANCE_SERVER__NOPE",
                "1",
                "server.nope: there is no such key",
            ),
            (
                "BALANCE_SERVER__WORKERS",
                "0",
                "server.workers: must be 1 to 256",
            ),
            (
                "BALANCE_DATABASE__URL",
                "sqlite://x.db\n",
                "database.url: must be one line",
            ),
            (
                "BALANCE_DATABASE__URL",
                "sqlite://x.db?mode=ro",
                "database.url: must be sqlite:// and a path",
            ),
            (
                "BALANCE_SERVER__ALLOWED_ORIGINS",
                "https://app.example.org/",
                "server.allowed_origins[0]: must be *",
            ),
            (
                "BALANCE_AUTH__SESSION_SECRETS",
                "geheim",
                "auth.session_secrets[0]: must be 32",
            ),
            (
                "BALANCE_CLUSTER__URL",
                "nats://node:geheim@h",
                "cluster.url[0]: must be nats://",
            ),
            (
                "BALANCE_CLUSTER__URL",
                "nats://h",
                "cluster.url: must not be set on SQLite",
            ),
        ] {
            let output = run(command, &[(name, value)], b"");
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {error}");
            assert!(
                error.starts_with("balance-coordinator: ") && error.contains(message),
                "{message} in: {error}"
            );
            assert!(!error.contains("geheim"), "{error}");
        }
        let with_file = [command, &["--config", "nowhere.toml"]].concat();
        let output = run(&with_file, &[], b"");
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains("nowhere.toml: "),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn serve_names_every_secret_that_is_missing() {
    let output = run(&["serve"], &[("BALANCE_AUTH__ADMIN_TOKENS", "token")], b"");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("auth.webhook_secrets, auth.session_secrets (") && !error.contains("admin"),
        "{error}"
    );
    let output = run(&["token", "--user", "184"], &[], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("missing: auth.session_secrets ("),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn development_makes_its_secrets_and_refuses_to_leave_loopback() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("balance.dev.toml");
    let mut texts = Vec::new();
    for (name, value, key) in [
        (
            "BALANCE_SERVER__PUBLIC_ADDR",
            "0.0.0.0:8080",
            "server.public_addr: ",
        ),
        (
            "BALANCE_SERVER__INTERNAL_ADDR",
            "[::]:8081",
            "server.internal_addr: ",
        ),
    ] {
        let output = run_in(dir.path(), &["serve", "--dev"], &[(name, value)], b"");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(key), "{error}");
        assert_eq!(
            path.metadata().expect("made").permissions().mode() & 0o777,
            0o600
        );
        texts.push(std::fs::read_to_string(&path).expect("readable"));
    }
    assert_eq!(texts[0], texts[1], "made once");
}

#[test]
fn token_checks_a_token_and_names_what_is_wrong_with_it() {
    let variables = [(
        "BALANCE_AUTH__SESSION_SECRETS",
        "0123456789abcdefghijklmnopqrstuv",
    )];
    let other = [(
        "BALANCE_AUTH__SESSION_SECRETS",
        "vutsrqponmlkjihgfedcba9876543210",
    )];
    let made = run(
        &["token", "--user", "184", "--ttl-s", "60"],
        &variables,
        b"",
    );
    let token = text(&made.stdout);
    let of_argument = ["token", "--check", token.trim_end()];
    for (arguments, input) in [
        (&of_argument[..], ""),
        (&["token", "--check", "-"], token.as_str()),
    ] {
        let output = run(arguments, &variables, input.as_bytes());
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(
            said.starts_with("the token is good for user 184 (claim \"sub\") until 20"),
            "{said}"
        );
        let output = run(arguments, &other, input.as_bytes());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("is refused: none of auth.session_secrets") && output.stdout.is_empty(),
            "{error}"
        );
        assert!(!error.contains(token.trim_end()), "{error}");
    }
    let with_claim = [variables[0], ("BALANCE_AUTH__SESSION_USER_CLAIM", "uid")];
    let output = run(&of_argument, &with_claim, b"");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("it names no user") && error.contains("session_user_claim is \"uid\""),
        "{error}"
    );
    let made = run(&["token", "--user", "7"], &with_claim, b"");
    let output = run(&["token", "--check", "-"], &with_claim, &made.stdout);
    assert!(
        text(&output.stdout).starts_with("the token is good for user 7 (claim \"uid\")"),
        "{}",
        text(&output.stderr)
    );
    let output = run(&["token", "--check", "nonsense"], &variables, b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("three parts"),
        "{}",
        text(&output.stderr)
    );
    let output = run(&["token", "--check", "-"], &[], token.as_bytes());
    assert_eq!(output.status.code(), Some(2), "without a secret");
}

#[test]
fn help_and_version_end_with_0() {
    for (arguments, part) in [
        (["--help"], "serve"),
        (["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = run(&arguments, &[], b"");
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains(part));
    }
}

/// The program of this test has the feature. `.ci/run` shows that the released one has not, and serves.
#[test]
fn a_program_built_for_tests_says_so_and_refuses_to_serve() {
    let output = run(&["--version"], &[], b"");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text(&output.stdout),
        format!("balance-coordinator {version} (simulation)\n")
    );
    let dir = tempfile::tempdir().expect("a directory");
    for variables in [&[][..], &[("SIMULATION_BUILD_MAY_SERVE", "")]] {
        for arguments in [&["serve"][..], &["serve", "--dev"]] {
            let output = run_bare(dir.path(), arguments, variables, b"");
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(
                error.contains("built with the feature simulation"),
                "{error}"
            );
        }
    }
    let made = dir.path().read_dir().expect("it lists").count();
    assert_eq!(made, 0, "nothing is written before it refuses");
}

#[test]
fn a_hangup_ends_every_command_but_serve_and_watch() {
    use std::os::unix::process::ExitStatusExt as _;
    // Both wait for standard input.
    for arguments in [
        &["sign", "--secret", SECRET, "--id", "a", "--timestamp", "1"][..],
        &["token", "--check", "-"],
    ] {
        // The tests themselves may run below `nohup`.
        let mut child = Command::new("env")
            .args([
                "--default-signal=HUP",
                env!("CARGO_BIN_EXE_balance-coordinator"),
            ])
            .args(arguments)
            .env(
                "BALANCE_AUTH__SESSION_SECRETS",
                "0123456789abcdefghijklmnopqrstuv",
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let kill = format!("kill -HUP {}", child.id());
        let status = loop {
            // Again, until the program runs: `env` may ignore the first ones.
            let sent = Command::new("sh").args(["-c", &kill]).status();
            assert!(sent.expect("kill runs").success());
            if let Some(status) = child.try_wait().expect("its state can be asked") {
                break status;
            }
        };
        assert_eq!(status.signal(), Some(1), "{arguments:?}: {status}");
    }
}
