//! A server for one machine: the files of the page, from memory, to whoever is on this machine.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::PageError;
use super::files::Files;
use super::request::{MOST, answer};
use crate::cli::args::PageArgs;
use crate::cli::error::Error;
use crate::cli::interrupt::Interrupt;
use crate::cli::report::Output;

/// The port without --port, as long as it is free. It is the same every time, because a browser keeps an
/// interrupted run for this address and no other.
const PORT: u16 = 8027;

/// For how long a connection is kept that sends no request, or takes no answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks whether Ctrl-C was pressed.
const EVERY: Duration = Duration::from_millis(100);

/// Serves the page until Ctrl-C.
///
/// # Errors
///
/// The port cannot be had.
pub(super) fn run(args: &PageArgs) -> Result<(), Error> {
    let interrupt = Interrupt::listen()?;
    let listener = listen(args.port)?;
    let address = listener.local_addr().map_err(PageError::Listen)?;
    let address = format!("http://{address}/");
    let mut out = Output::new();
    out.line(&format!("{address}    (Ctrl-C ends it)"))?;
    if args.open && !open(&address) {
        out.line("no browser could be started; open that address in one")?;
    }
    thread::spawn(move || serve(&listener));
    while interrupt.exit_code().is_none() {
        thread::sleep(EVERY);
    }
    Ok(())
}

/// The port that is asked for; else the usual one, or any that is free. Nobody on another machine reaches it.
fn listen(port: Option<u16>) -> Result<TcpListener, PageError> {
    let on = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match port {
        Some(port) => on(port).map_err(|reason| PageError::Port { port, reason }),
        None => on(PORT).or_else(|_| on(0)).map_err(PageError::Listen),
    }
}

/// Answers requests, each in a thread of its own: a browser asks for all files at once.
fn serve(listener: &TcpListener) {
    let files = Arc::new(Files::built_in());
    loop {
        let Ok((connection, _)) = listener.accept() else {
            thread::sleep(EVERY); // out of files or memory, which passes
            continue;
        };
        let files = Arc::clone(&files);
        // A browser that goes away is nobody's mistake, nor is a thread that cannot be had: it asks again.
        let _ = thread::Builder::new().spawn(move || {
            let _ = attend(connection, &files);
        });
    }
}

/// Reads one request and answers it.
fn attend(mut connection: TcpStream, files: &Files) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let begun = Instant::now();
    let (mut arrived, mut part) = (Vec::new(), [0; 2048]);
    let answer = loop {
        let length = connection.read(&mut part)?;
        if length == 0 || begun.elapsed() > PATIENCE {
            return Ok(());
        }
        arrived.extend(&part[..length]);
        arrived.truncate(MOST);
        if let Some(answer) = answer(files, &arrived) {
            break answer;
        }
    };
    connection.write_all(&answer)?;
    // What was sent and not read, the body of a POST for example, would make a reset of the end of the answer.
    connection.shutdown(Shutdown::Write)?;
    connection.set_read_timeout(Some(EVERY))?;
    while connection.read(&mut part).is_ok_and(|length| length > 0) && begun.elapsed() < PATIENCE {}
    Ok(())
}

/// Starts the browser; false if that fails at once.
fn open(address: &str) -> bool {
    let program: &[&str] = if cfg!(target_os = "macos") {
        &["open"]
    } else if cfg!(target_os = "windows") {
        &["rundll32", "url.dll,FileProtocolHandler"]
    } else {
        &["xdg-open"]
    };
    let started = Command::new(program[0])
        .args(&program[1..])
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // Some of them stay as long as the browser does, so that nobody waits for their exit code for long.
    started.is_ok_and(|mut opener| {
        thread::sleep(EVERY);
        !matches!(opener.try_wait(), Ok(Some(status)) if !status.success())
    })
}
