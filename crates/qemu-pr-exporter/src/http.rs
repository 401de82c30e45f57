//! As much HTTP/1.1 as a monitoring system needs: one request a connection, without a body.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use httparse::{EMPTY_HEADER, Header, Status};
use pr_control::deadline;

use crate::openmetrics::Format;

/// The longest request line with headers.
const MAX_HEAD: usize = 8 * 1024;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// How long a client has for its request, and for reading the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much a client may send after its request. It is read and dropped: unread data would reset the connection, and
/// the client might not see the response.
const MAX_REST: usize = 64 * 1024;
const REST_TIMEOUT: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "qemu-pr-exporter: /metrics has the metrics of qemu-pr-helper,\n\
                     /healthz answers ok as long as the exporter runs.\n";

/// The response to a request.
#[derive(Debug, PartialEq, Eq)]
enum Response {
    Metrics(Format),
    /// A fixed text: the status line and the body.
    Text(&'static str, &'static str),
}

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    response: Response,
    /// HEAD: only the header of the response.
    head_only: bool,
}

/// Serves one request. An error is that of the connection.
pub fn serve(stream: &mut TcpStream, metrics: impl FnOnce(Format) -> String) -> io::Result<()> {
    let Some(Request { response, head_only }) = read_request(stream)? else {
        return Ok(());
    };
    let (status, content_type, body) = match response {
        Response::Metrics(format) => ("200 OK", format.content_type(), metrics(format)),
        Response::Text(status, words) => (status, TEXT, words.to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        text.push_str(&body);
    }
    deadline::write(stream, text.as_bytes(), Instant::now() + TIMEOUT)?;
    finish(stream)
}

/// Rejects a client at the connection limit, without waiting for it.
pub fn reject(mut stream: TcpStream) {
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n";
    // If this fails, the client sees a closed connection.
    let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(text.as_bytes()));
}

/// Reads a request; `None` if the client has disconnected.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let refusal = |status, words| Ok(Some(Request { response: Response::Text(status, words), head_only: false }));
    let mut head = [0; MAX_HEAD];
    let mut length = 0;
    let until = Instant::now() + TIMEOUT;
    loop {
        let room = head.get_mut(length..).unwrap_or_default();
        if room.is_empty() {
            return refusal("431 Request Header Fields Too Large", "the request has more than 8 KiB of headers\n");
        }
        match deadline::read(stream, room, until) {
            Ok(0) => return Ok(None),
            Ok(some) => length += some,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return refusal("408 Request Timeout", "the request did not arrive in time\n");
            }
            Err(error) => return Err(error),
        }
        if let Some(request) = parse(head.get(..length).unwrap_or_default()) {
            return Ok(Some(request));
        }
    }
}

/// Parses a request; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let refusal = |status, words| Some(Request { response: Response::Text(status, words), head_only: false });
    match request.parse(bytes) {
        Ok(Status::Partial) => return None,
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return refusal("431 Request Header Fields Too Large", "the request has more than 64 headers\n");
        }
        Err(_) => return refusal("400 Bad Request", "this is not an HTTP/1.1 request\n"),
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let response = match path(target) {
        "/metrics" => Response::Metrics(format(request.headers)),
        "/" => Response::Text("200 OK", INDEX),
        "/healthz" => Response::Text("200 OK", "ok\n"),
        _ => Response::Text("404 Not Found", "not found; see /\n"),
    };
    let head_only = method == "HEAD";
    let response = match response {
        Response::Text("404 Not Found", _) => response,
        _ if head_only || method == "GET" => response,
        _ => Response::Text("405 Method Not Allowed", "only GET and HEAD are allowed\n"),
    };
    Some(Request { response, head_only })
}

/// The path of a request's target: `/a?b`, or `http://host/a?b` as for proxies (RFC 9112, 3.2).
fn path(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        _ => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The format that a client accepts. One that names none, or accepts any, gets OpenMetrics; a browser gets the older
/// format, since it would save OpenMetrics as a file.
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
    let until = Instant::now() + REST_TIMEOUT;
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
