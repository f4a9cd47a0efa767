//! Sends lineage events: appended to a file as JSON lines, or posted.
//!
//! Owns the target. What an event says is not its matter.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use serde_json::Value;

use crate::error::Error;

/// Where receivers of OpenLineage listen, as its own clients assume.
#[cfg(feature = "http")]
const ENDPOINT: &str = "/api/v1/lineage";
/// For one event, all in all.
#[cfg(feature = "http")]
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Of a file's first line, as much as tells what it is.
const MAX_FIRST: u64 = 1 << 20;

/// Whether events are posted, not appended to a file.
pub fn is_url(target: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| target.starts_with(scheme))
}

/// Whether this build can send to such a target.
fn check(target: &str) -> Result<(), Error> {
    if is_url(target) && cfg!(not(feature = "http")) {
        return Err(Error::usage(
            format!("this build can't post lineage events to `{target}`"),
            Some("build it with `--features full`, or give --openlineage a file"),
        ));
    }
    Ok(())
}

/// Sends events in order; those before one that fails have been sent.
pub fn emit(target: &str, events: &[Value]) -> Result<(), Error> {
    check(target)?;
    if is_url(target) { post(target, events) } else { append(Path::new(target), events) }
}

/// Only a file of such events grows; whatever else stands there is somebody's data.
fn append(path: &Path, events: &[Value]) -> Result<(), Error> {
    let is_ours = |first: &str| first.is_empty() || first.starts_with('{') && first.contains("\"eventType\"");
    let first = std::fs::File::open(path).map_or(Ok(String::new()), |file| {
        let mut line = String::new();
        BufReader::new(file.take(MAX_FIRST)).read_line(&mut line).map(|_| line)
    });
    // A folder is told of when it is written to.
    if !path.is_dir() && !first.as_deref().is_ok_and(is_ours) {
        return Err(Error::Emit {
            target: path.display().to_string(),
            detail: "it exists and does not hold OpenLineage events".to_owned(),
            hint: "give --openlineage another file",
        });
    }
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Error::Emit {
        target: path.display().to_string(),
        detail: error.to_string(),
        hint: "give --openlineage a file that can be written, or leave it out",
    })
}

/// The address itself, or the usual endpoint where it names a host alone.
#[cfg(feature = "http")]
fn endpoint(target: &str) -> String {
    let host_and_path = target.split_once("://").map_or(target, |(_, rest)| rest).trim_end_matches('/');
    match host_and_path.contains(['/', '?']) {
        true => target.to_owned(),
        false => format!("{}{ENDPOINT}", target.trim_end_matches('/')),
    }
}

#[cfg(feature = "http")]
fn post(target: &str, events: &[Value]) -> Result<(), Error> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(true).build(),
    );
    let url = endpoint(target);
    for event in events {
        let request = agent.post(&url).header("content-type", "application/json");
        request.send(event.to_string()).map_err(|error| Error::Emit {
            target: url.clone(),
            detail: error.to_string(),
            hint: "check the address; a file keeps the events until they can be sent",
        })?;
    }
    Ok(())
}

#[cfg(not(feature = "http"))]
fn post(target: &str, _events: &[Value]) -> Result<(), Error> {
    check(target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_appended_to_a_file_one_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.jsonl");
        let target = path.to_str().expect("text");
        emit(target, &[json!({ "eventType": "START" })]).expect("it is written");
        emit(target, &[json!({ "eventType": "COMPLETE", "a": "\n" })]).expect("it is appended");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(text, "{\"eventType\":\"START\"}\n{\"eventType\":\"COMPLETE\",\"a\":\"\\n\"}\n");
    }

    #[test]
    fn file_that_holds_anything_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        for bytes in [&b"PAR1\0\xff data"[..], b"{\"messages\": []}\n", b"\n", b"<html>"] {
            std::fs::write(&path, bytes).expect("written");
            let error = emit(path.to_str().expect("text"), &[json!({})]).expect_err("it is not a file of events");
            assert!(error.to_string().ends_with("it exists and does not hold OpenLineage events"), "{error}");
            assert_eq!(std::fs::read(&path).expect("it is there"), bytes);
        }
    }

    #[test]
    fn file_that_cannot_be_written_is_exit_4() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = emit(folder.path().to_str().expect("text"), &[json!({})]).expect_err("it is a folder");
        assert_eq!(error.status().code(), 4);
        assert!(error.to_string().starts_with("lineage events can't be sent to `"), "{error}");
    }

    #[cfg(not(feature = "http"))]
    #[test]
    fn build_without_http_says_so_before_the_run() {
        let error = check("https://example.org").expect_err("it can't");
        assert_eq!(error.status().code(), 2);
        check("events.jsonl").expect("files it can write");
    }

    #[cfg(feature = "http")]
    mod http {
        use std::io::{BufRead, BufReader, Read};
        use std::net::TcpListener;
        use std::thread::JoinHandle;

        use super::*;

        /// Answers that many requests; returns the first line and the body of each.
        fn server(status: &'static str, requests: usize) -> (String, JoinHandle<Vec<(String, String)>>) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("http://{}", listener.local_addr().expect("an address"));
            let thread = std::thread::spawn(move || (0..requests).map(|_| answer(&listener, status)).collect());
            (address, thread)
        }

        fn answer(listener: &TcpListener, status: &str) -> (String, String) {
            let (stream, _) = listener.accept().expect("a caller");
            let mut reader = BufReader::new(&stream);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).expect("a request");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let said = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            (&stream).write_all(said.as_bytes()).expect("the caller listens");
            (first.trim().to_owned(), String::from_utf8(body).expect("text"))
        }

        #[test]
        fn each_event_is_posted_to_the_usual_endpoint_of_a_host() {
            let (address, thread) = server("201 Created", 2);
            emit(&address, &[json!({ "a": 1 }), json!({ "b": "ü" })]).expect("it is received");
            let first = "POST /api/v1/lineage HTTP/1.1".to_owned();
            let expected = [(first.clone(), "{\"a\":1}".to_owned()), (first, "{\"b\":\"ü\"}".to_owned())];
            assert_eq!(thread.join().expect("a server"), expected);
        }

        #[test]
        fn address_with_a_path_is_taken_as_it_is() {
            let (address, thread) = server("200 OK", 1);
            emit(&format!("{address}/lineage?key=1"), &[json!({})]).expect("it is received");
            assert_eq!(thread.join().expect("a server")[0].0, "POST /lineage?key=1 HTTP/1.1");
        }

        #[test]
        fn refusal_and_silence_are_exit_4_and_name_the_address() {
            let (address, thread) = server("422 Unprocessable Entity", 1);
            let refused = emit(&address, &[json!({})]).expect_err("it is refused");
            thread.join().expect("a server");
            assert!(refused.to_string().contains("422") && refused.to_string().contains(&address), "{refused}");
            let nobody = emit(&address, &[json!({})]).expect_err("nobody listens there any more");
            assert_eq!((refused.status().code(), nobody.status().code()), (4, 4));
        }
    }
}
