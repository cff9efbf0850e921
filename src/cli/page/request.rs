//! What a browser asks for, and the bytes of the answer.

use std::io::Write as _;

use httparse::{EMPTY_HEADER, Status};

use super::files::{File, Files};

/// Bytes of a request at most. A browser's has some hundred.
pub(super) const MOST: usize = 16 << 10;
/// Headers of a request at most.
const HEADERS: usize = 100;

/// The answer to what has arrived; none while the request is not whole.
pub(super) fn answer(files: &Files, arrived: &[u8]) -> Option<Vec<u8>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(arrived) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if arrived.len() < MOST => return None,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(refusal("431 Request Header Fields Too Large", "", true));
        }
        Err(_) => return Some(refusal("400 Bad Request", "", true)),
    }
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => {
            return Some(refusal(
                "405 Method Not Allowed",
                "Allow: GET, HEAD\r\n",
                true,
            ));
        }
    };
    // What is behind the question mark is for the page itself.
    let path = request.path.unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let Some(file) = files.get(path) else {
        return Some(refusal("404 Not Found", "", with_body));
    };
    let mut known = request.headers.iter();
    let known = known.find(|header| header.name.eq_ignore_ascii_case("if-none-match"));
    let known = known.and_then(|header| str::from_utf8(header.value).ok());
    Some(match known.is_some_and(|known| names(known, &file.etag)) {
        true => response("304 Not Modified", &headers_of(file), &[], 0),
        false => {
            let body = if with_body { file.bytes } else { &[] };
            response("200 OK", &headers_of(file), body, file.bytes.len())
        }
    })
}

/// Whether a list of `If-None-Match` has a checksum.
fn names(list: &str, etag: &str) -> bool {
    let mut listed = list.split(',').map(str::trim);
    listed.any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}

/// A browser asks each time whether its copy is still right, since another version of the program may have the
/// same address.
fn headers_of(file: &File) -> String {
    let File {
        content_type, etag, ..
    } = file;
    format!("Content-Type: {content_type}\r\nETag: {etag}\r\nCache-Control: no-cache\r\n")
}

fn refusal(status: &str, headers: &str, with_body: bool) -> Vec<u8> {
    let headers =
        format!("{headers}Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n");
    let text = format!("{status}\n");
    let body = if with_body { text.as_bytes() } else { &[] };
    response(status, &headers, body, text.len())
}

fn response(status: &str, headers: &str, body: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 512);
    let length = match status.starts_with("304") {
        true => String::new(), // it would have to be the length of the file
        false => format!("Content-Length: {length}\r\n"),
    };
    write!(
        bytes,
        "HTTP/1.1 {status}\r\n{headers}{length}X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    .expect("a vector takes all bytes");
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &str) -> String {
        let answer = answer(&Files::built_in(), request.as_bytes());
        String::from_utf8_lossy(&answer.unwrap()).into_owned()
    }

    #[test]
    fn a_request_is_answered_once_it_is_whole() {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..request.len() {
            assert!(
                answer(&Files::built_in(), &request[..end]).is_none(),
                "{end}"
            );
        }
        assert!(answer(&Files::built_in(), request).is_some());
    }

    #[test]
    fn what_is_no_request_for_a_file_is_refused() {
        for (request, status) in [
            ("POST / HTTP/1.1\r\n\r\n", "405 "),
            ("OPTIONS * HTTP/1.1\r\n\r\n", "405 "),
            ("GET /nothing HTTP/1.1\r\n\r\n", "404 "),
            ("GET /../Cargo.toml HTTP/1.1\r\n\r\n", "404 "),
            ("GET /%2e%2e/Cargo.toml HTTP/1.1\r\n\r\n", "404 "),
            ("GET http://elsewhere/ HTTP/1.1\r\n\r\n", "404 "),
            ("GET / SPDY/9\r\n\r\n", "400 "),
            ("\x16\x03\x01 a browser that wants https", "400 "),
        ] {
            let answer = asked(request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {answer}"
            );
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST));
        assert!(asked(&long[..MOST]).starts_with("HTTP/1.1 431 "));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert!(asked(&many).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn a_copy_that_is_still_right_is_not_sent_again() {
        let first = asked("GET /?steps=2000 HTTP/1.1\r\n\r\n");
        let (_, after) = first.split_once("ETag: ").unwrap();
        let etag = after.lines().next().unwrap();
        for (known, status) in [
            (etag.to_owned(), "304 "),
            (format!("\"other\", W/{etag}"), "304 "),
            ("*".to_owned(), "304 "),
            ("\"other\"".to_owned(), "200 "),
        ] {
            let answer = asked(&format!("GET / HTTP/1.1\r\nif-none-match: {known}\r\n\r\n"));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{known}: {answer}"
            );
            assert_eq!(
                answer.ends_with("\r\n\r\n"),
                status == "304 ",
                "a body behind 304"
            );
        }
    }
}
