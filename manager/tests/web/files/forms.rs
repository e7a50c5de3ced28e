//! Files that come by a form of a page.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;

use super::draft;
use crate::site::{Site, cookie};

/// One more than the uploads that a user may have under way; each tells once what it was answered.
const FORMS: usize = 9;

/// Begins to send a form with a file of which there is more to come for ever.
fn begin(site: &Site, path: &str, token: &str, content: &[u8]) -> TcpStream {
    let form_token = site.page("/submit", token).field("form_token").to_owned();
    let (mut connection, host) = (site.connect(), site.address);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{}Connection: close\r\n\
         Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 60000000\r\n\r\n\
         --x\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\n{form_token}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.bin\"\r\n\r\n",
        cookie(token)
    );
    connection.write_all(head.as_bytes()).unwrap();
    drop(connection.write_all(content)); // It may be refused on the way.
    connection
}

/// The status line of an answer that comes although the form has not ended.
fn answered(connection: &mut TcpStream) -> String {
    let mut status = [0; 12];
    connection
        .read_exact(&mut status)
        .map_or_else(|error| error.to_string(), |()| String::from_utf8_lossy(&status).into_owned())
}

#[test]
fn a_form_for_a_draft_of_others_is_not_taken_in_first() {
    let site = Site::start();
    let (ada, bob) = (site.register("ada"), site.register("bob"));
    let job = draft(&site, &ada);
    for path in ["files", "files/remove", "launch"] {
        let path = format!("/jobs/{job}/{path}");
        let mut connection = begin(&site, &path, &bob, b"x");
        assert_eq!(answered(&mut connection), "HTTP/1.1 404", "{path}");
    }
}

#[test]
fn a_form_takes_no_more_than_is_left_of_the_storage() {
    let site = Site::start_with(|config| config.web.files.storage_max_bytes = 100_000);
    let ada = site.register("ada");
    let job = draft(&site, &ada);
    for path in [format!("/jobs/{job}/files"), "/submit".to_owned()] {
        let mut connection = begin(&site, &path, &ada, &[7; 150_000]);
        assert_eq!(answered(&mut connection), "HTTP/1.1 409", "{path}");
    }
}

#[test]
fn a_form_with_files_is_an_upload_as_any_other() {
    let site = Site::start();
    let ada = site.register("ada");
    let forms: Vec<TcpStream> = (0..FORMS).map(|_| begin(&site, "/submit", &ada, b"xyz")).collect();
    let (tell, told) = mpsc::sync_channel(FORMS);
    std::thread::scope(|scope| {
        for form in &forms {
            let (mut form, tell) = (form.try_clone().unwrap(), tell.clone());
            scope.spawn(move || tell.send(answered(&mut form)).unwrap());
        }
        // One is too many, whichever came last; the others wait for their rest.
        assert_eq!(told.recv().unwrap(), "HTTP/1.1 503");
        forms.iter().for_each(|form| drop(form.shutdown(Shutdown::Both)));
    });
}
