//! `gpu-makemore page`, in a program that has the page.
//!
//! What a program without it says is tested in tests/cli.rs; how requests are read, in src/cli/page.

#![cfg(unix)] // it ends with Ctrl-C

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

/// `gpu-makemore page` with these options.
fn page(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    command.arg("page").args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Starts the program, which prints its address first.
fn serve(options: &[&str]) -> (Child, String) {
    let mut child = page(options).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.strip_prefix("http://").unwrap_or_default();
    let address = address.split('/').next().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    (child, address)
}

/// What comes back for these bytes: the head, and the body.
fn ask(address: &str, request: &str) -> (String, Vec<u8>) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

/// Ends it as Ctrl-C does, and returns what it said on the way out.
fn interrupted(child: Child) -> Output {
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    child.wait_with_output().unwrap()
}

#[test]
fn the_page_is_served_on_this_machine_until_ctrl_c() {
    let (child, address) = serve(&[]);
    let (head, index) = ask(
        &address,
        "GET /?steps=2000&start=1 HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in [
        "Content-Type: text/html; charset=utf-8",
        "Cache-Control: no-cache",
        "X-Content-Type-Options: nosniff",
        &format!("Content-Length: {}", index.len()),
    ] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{head}");
    }
    let index = String::from_utf8(index).unwrap();
    assert!(index.contains("<html"), "{index}");

    let (same, nothing) = ask(&address, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((same.as_str(), nothing), (head.as_str(), Vec::new()));
    let etag = head
        .lines()
        .find(|line| line.starts_with("ETag: "))
        .unwrap();
    let known = etag.replace("ETag", "If-None-Match");
    let (head, nothing) = ask(&address, &format!("GET / HTTP/1.1\r\n{known}\r\n\r\n"));
    assert!(
        head.starts_with("HTTP/1.1 304 ") && nothing.is_empty(),
        "{head}"
    );

    for (request, status) in [
        ("GET /../words.txt HTTP/1.1\r\n\r\n", 404),
        ("GET /%2e%2e/words.txt HTTP/1.1\r\n\r\n", 404),
        ("GET //etc/passwd HTTP/1.1\r\n\r\n", 404),
        ("DELETE / HTTP/1.1\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsomething", 405),
        ("\x16\x03\x01\r\n\r\n", 400),
    ] {
        let (head, _) = ask(&address, request);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {head}"
        );
    }

    // Nobody who stays silent keeps others waiting.
    let _silent = TcpStream::connect(&address).unwrap();
    ask(&address, "GET / HTTP/1.1\r\n\r\n");

    let output = interrupted(child);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn a_port_that_is_taken_is_an_error_only_if_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = page(&["--port", &port]);
    let refused = command.current_dir(&folder).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(refused.stdout, b"", "results of a failed command");
    let left = folder.path().read_dir().unwrap().count();
    assert_eq!(left, 0, "files came");
    let message = stderr(&refused);
    for part in [
        &format!("error: port {port} cannot be had"),
        "without --port",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
    drop(taken);
    let (child, address) = serve(&["--port", &port]);
    assert_eq!(address, format!("127.0.0.1:{port}"));
    // A second one takes another; the first of these two may have found 8027 in use already.
    let (second, first_choice) = serve(&[]);
    let (third, other) = serve(&[]);
    assert_ne!(first_choice, other);
    for child in [child, second, third] {
        assert_eq!(interrupted(child).status.code(), Some(0));
    }
}

/// No browser is there; the address is still printed, and the page served.
#[test]
fn without_a_browser_the_page_is_served_all_the_same() {
    let mut child = page(&["--open"]).env("PATH", "/none").spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(2).map(Result::unwrap).collect();
    assert!(lines[0].starts_with("http://127.0.0.1:"), "{lines:?}");
    assert!(
        lines[1].starts_with("no browser could be started"),
        "{lines:?}"
    );
    assert_eq!(interrupted(child).status.code(), Some(0));
}
