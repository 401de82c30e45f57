use super::*;

fn response(text: &str) -> Option<(&'static str, bool)> {
    parse(text.as_bytes()).map(|asked| {
        let status = match asked.response {
            Response::Metrics(Format::OpenMetrics) => "openmetrics",
            Response::Metrics(Format::Plain) => "plain",
            Response::Text(status, _) => status,
        };
        (status, asked.head_only)
    })
}

#[test]
fn a_request_says_what_it_wants() {
    for (line, expected) in [
        ("GET / HTTP/1.1", ("200 OK", false)),
        ("GET /healthz HTTP/1.0", ("200 OK", false)),
        ("HEAD /metrics HTTP/1.1", ("openmetrics", true)),
        ("GET /metrics?collect=all HTTP/1.1", ("openmetrics", false)),
        ("GET http://host:9437/metrics HTTP/1.1", ("openmetrics", false)),
        ("GET http://host HTTP/1.1", ("200 OK", false)),
        ("GET /metricsx HTTP/1.1", ("404 Not Found", false)),
        ("POST /x HTTP/1.1", ("404 Not Found", false)),
        ("POST /metrics HTTP/1.1", ("405 Method Not Allowed", false)),
        ("OPTIONS * HTTP/1.1", ("404 Not Found", false)),
        ("rubbish", ("400 Bad Request", false)),
        ("GET / HTTP/2.0", ("400 Bad Request", false)),
    ] {
        assert_eq!(response(&format!("{line}\r\nHost: x\r\n\r\n")), Some(expected), "{line}");
    }
}

#[test]
fn an_unfinished_request_is_waited_for() {
    for text in ["", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        assert_eq!(response(text), None, "{text:?}");
    }
}

#[test]
fn too_many_headers_are_refused() {
    let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    assert_eq!(response(&text), Some(("431 Request Header Fields Too Large", false)));
}

#[test]
fn the_client_gets_the_format_that_it_reads() {
    for (accept, expected) in [
        ("*/*", "openmetrics"),
        ("application/json", "openmetrics"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "openmetrics"),
        ("text/plain;version=0.0.4;q=0.5, APPLICATION/OpenMetrics-Text; q=0.7", "openmetrics"),
        ("application/openmetrics-text;q=0,text/plain", "plain"),
        ("text/plain", "plain"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "plain"),
        ("text/plain;q=0.0", "openmetrics"),
    ] {
        assert_eq!(
            response(&format!("GET /metrics HTTP/1.1\r\naccept: {accept}\r\n\r\n")),
            Some((expected, false)),
            "{accept}"
        );
    }
    assert_eq!(response("GET /metrics HTTP/1.1\r\n\r\n"), Some(("openmetrics", false)));
}

#[test]
fn no_bytes_make_it_panic() {
    let request = b"GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\r\n";
    for at in 0..request.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = request.to_vec();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
