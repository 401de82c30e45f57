//! As much HTTP/1.1 as a page for a monitoring system takes: one request a connection, no body, nothing kept.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use httparse::{EMPTY_HEADER, Header, Request, Status};
use pr_control::deadline;

use super::openmetrics::Format;

/// The longest request line with headers.
const MAX_HEAD: usize = 8 * 1024;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// How long a client has for its request, and how long for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is read, and thrown away, of what a client sends besides: if nobody read it, the client would be reset and
/// might never see the answer.
const MAX_REST: usize = 64 * 1024;
const REST_PATIENCE: Duration = Duration::from_secs(1);

const WORDS: &str = "text/plain; charset=utf-8";

const INDEX: &str = "This is qemu-pr-ctl exporter: /metrics has the figures of qemu-pr-helper,\n\
                     and /healthz says whether this exporter is well.\n";

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// The figures.
    Metrics(Format),
    /// Words that are always the same: the status line and the body.
    Words(&'static str, &'static str),
}

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    wish: Wish,
    /// The client wants to know what the answer would be like, and not the answer.
    head_only: bool,
}

/// Answers a client, whatever it says. An error is that of its connection.
pub fn converse(stream: &mut TcpStream, metrics: impl FnOnce(Format) -> String) -> io::Result<()> {
    let Some(Asked { wish, head_only }) = asked(stream)? else {
        return Ok(());
    };
    let (status, content_type, body) = match wish {
        Wish::Metrics(format) => ("200 OK", format.content_type(), metrics(format)),
        Wish::Words(status, words) => (status, WORDS, words.to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        text.push_str(&body);
    }
    deadline::write(stream, text.as_bytes(), Instant::now() + PATIENCE)?;
    finish(stream)
}

/// Says that there is no room for this client. It must not be waited for.
pub fn turn_away(mut stream: TcpStream) {
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n";
    // Who cannot be told sees a connection that is closed.
    let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(text.as_bytes()));
}

/// Reads a request; `None` where the client has left.
fn asked(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let refusal = |status, words| Ok(Some(Asked { wish: Wish::Words(status, words), head_only: false }));
    let mut head = [0; MAX_HEAD];
    let mut length = 0;
    let until = Instant::now() + PATIENCE;
    loop {
        let room = head.get_mut(length..).unwrap_or_default();
        if room.is_empty() {
            return refusal("431 Request Header Fields Too Large", "the request has more than 8 KiB of headers\n");
        }
        match deadline::read(stream, room, until) {
            Ok(0) => return Ok(None),
            Ok(some) => length += some,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return refusal("408 Request Timeout", "the request did not come in time\n");
            }
            Err(error) => return Err(error),
        }
        if let Some(asked) = parse(head.get(..length).unwrap_or_default()) {
            return Ok(Some(asked));
        }
    }
}

/// What these bytes ask for; `None` where more have to come.
fn parse(bytes: &[u8]) -> Option<Asked> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let refusal = |status, words| Some(Asked { wish: Wish::Words(status, words), head_only: false });
    match request.parse(bytes) {
        Ok(Status::Partial) => return None,
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return refusal("431 Request Header Fields Too Large", "the request has more than 64 headers\n");
        }
        Err(_) => return refusal("400 Bad Request", "this is no HTTP/1.1 request\n"),
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let wish = match path(target) {
        "/metrics" => Wish::Metrics(format(request.headers)),
        "/" => Wish::Words("200 OK", INDEX),
        "/healthz" => Wish::Words("200 OK", "ok\n"),
        _ => Wish::Words("404 Not Found", "there is nothing here; see /\n"),
    };
    let head_only = method == "HEAD";
    let wish = match wish {
        Wish::Words("404 Not Found", _) => wish,
        _ if head_only || method == "GET" => wish,
        _ => Wish::Words("405 Method Not Allowed", "this page can be read, and nothing else\n"),
    };
    Some(Asked { wish, head_only })
}

/// The path of a request's target: `/a?b`, or `http://host/a?b` as for proxies (RFC 9112, 3.2).
fn path(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        _ => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The format that a client reads. One that names none, or says that it takes anything, gets the newer one; but a
/// browser would take that for a file to keep.
fn format(headers: &[Header<'_>]) -> Format {
    let mut plain = false;
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept")) {
        for range in String::from_utf8_lossy(header.value).to_ascii_lowercase().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0_f32));
            match name {
                "application/openmetrics-text" if !refused => return Format::OpenMetrics,
                "text/plain" | "text/*" | "text/html" if !refused => plain = true,
                _ => {}
            }
        }
    }
    if plain { Format::Plain } else { Format::OpenMetrics }
}

/// Closes the connection so that the client sees the whole answer.
fn finish(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + REST_PATIENCE;
    let mut rest = [0; 4096];
    for _ in 0..MAX_REST / rest.len() {
        if deadline::read(stream, &mut rest, until)? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
