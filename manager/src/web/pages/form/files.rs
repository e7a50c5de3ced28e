//! Forms that bring files: read part by part, the files kept beside the database until it is clear
//! whose they are.

use std::path::Path;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use bytes::Bytes;
use campusgrid_protocol::id::{JobId, UserId};
use campusgrid_protocol::rest::FieldError;
use campusgrid_protocol::text::check_path;
use multer::{Constraints, Field, Multipart, SizeLimit, parse_boundary};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::{Fields, SignedForm};
use crate::engine::handle::AskError;
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::Named;
use crate::web::files::left_bytes;
use crate::web::pages::draft::stored;
use crate::web::pages::{PageError, Visitor};
use crate::web::patience::TooSlow;
use crate::web::routes::FORM_MAX_BYTES;
use crate::web::tally::Held;

/// Largest form with files. Bytes; what is larger goes through the API, in pieces.
pub(in crate::web::pages) const FILES_FORM_MAX_BYTES: usize = 64 << 20;

/// Most files of a form: each is an open file here.
const FILES_MAX: usize = 200;

/// Most fields of a form.
const FIELDS_MAX: usize = 1000;

/// Read from disk at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The disk is looked at once for so many bytes that are to be written.
const CHECKED_BYTES: u64 = 256 << 10;

/// A form of a logged-in user that came from one of this login's own pages, with its files.
pub(in crate::web) struct FilesForm {
    pub(in crate::web::pages) visitor: Visitor,
    pub(in crate::web::pages) fields: Fields,
    pub(in crate::web::pages) files: Vec<Sent>,
}

/// A file of a form. It has no name on the disk and is gone with this.
pub(in crate::web::pages) struct Sent {
    /// Checked.
    pub(in crate::web::pages) path: String,
    file: File,
}

impl Sent {
    pub(in crate::web::pages) fn into_stream(self) -> ReaderStream<File> {
        ReaderStream::with_capacity(self.file, CHUNK_BYTES)
    }
}

impl FromRequest<Site> for FilesForm {
    type Rejection = PageError;

    async fn from_request(request: Request, site: &Site) -> Result<Self, PageError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let boundary = content_type.and_then(|value| parse_boundary(value.to_str().ok()?).ok());
        let Some(boundary) = boundary else {
            let SignedForm { visitor, fields } = SignedForm::from_request(request, site).await?;
            return Ok(Self { visitor, fields, files: Vec::new() });
        };
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, site).await?;
        // Nor is anything taken for a draft of somebody else. Not every form is about one.
        if let Ok(Named(draft)) = Named::<JobId>::from_request_parts(&mut parts, site).await {
            stored(site, &visitor, draft).await?;
        }
        let limit = SizeLimit::new().whole_stream(FILES_FORM_MAX_BYTES as u64);
        let limits = Constraints::new().size_limit(limit);
        let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, limits);
        let (mut fields, mut files) = (Fields::default(), Vec::new());
        let mut left = FORM_MAX_BYTES;
        let mut room = None;
        let mut count = 0;
        while let Some(field) = form.next_field().await.map_err(refused)? {
            count += 1;
            if count > FIELDS_MAX || files.len() > FILES_MAX {
                let message = format!("a form takes at most {FILES_MAX} files");
                return Err(WebError::Body(message).into());
            }
            let Some(name) = field.name().map(str::to_owned) else { continue };
            if let Some(path) = field.file_name().map(str::to_owned) {
                // Nothing is kept for a form whose token, which comes first, is not good.
                if !visitor.login.made_form(fields.text("form_token")) {
                    return Err(WebError::StaleForm.into());
                }
                let user = visitor.login.id();
                files.extend(file(site, (user, &mut room), (&name, path), field).await?);
            } else {
                let text = text(field, &mut left).await?;
                fields.set(&name, &text);
            }
        }
        if !visitor.login.made_form(fields.text("form_token")) {
            return Err(WebError::StaleForm.into());
        }
        Ok(Self { visitor, fields, files })
    }
}

async fn text(mut field: Field<'_>, left: &mut usize) -> Result<String, WebError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(refused)? {
        *left = left
            .checked_sub(chunk.len())
            .ok_or(WebError::TooLarge { max_bytes: FORM_MAX_BYTES })?;
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| WebError::Body("a field is not UTF-8".to_owned()))
}

/// None for a field in which no file was chosen.
async fn file(
    site: &Site,
    (user, room): (UserId, &mut Option<Room>),
    (name, path): (&str, String),
    mut field: Field<'_>,
) -> Result<Option<Sent>, WebError> {
    let mut chunk = field.chunk().await.map_err(refused)?;
    if path.is_empty() && chunk.as_ref().is_none_or(Bytes::is_empty) {
        return Ok(None);
    }
    if let Err(error) = check_path(&path) {
        let message = format!("{path:?} {error}");
        return Err(WebError::Fields(vec![FieldError { field: name.to_owned(), message }]));
    }
    let room = match room {
        Some(room) => room,
        None => room.insert(Room::of(site, user).await?),
    };
    let mut file = nameless(&site.config.data_dir).await?;
    while let Some(bytes) = chunk {
        room.take(site, bytes.len() as u64).await?;
        file.write_all(&bytes).await.map_err(WebError::File)?;
        chunk = field.chunk().await.map_err(refused)?;
    }
    file.flush().await.map_err(WebError::File)?;
    file.rewind().await.map_err(WebError::File)?;
    Ok(Some(Sent { path, file }))
}

/// What the files of one form may still take, which is an upload as any other.
struct Room {
    _place: Held<UserId>,
    left_bytes: u64,
    checked_bytes: u64,
}

impl Room {
    async fn of(site: &Site, user: UserId) -> Result<Self, WebError> {
        let place = site.files.upload(user)?;
        let left_bytes = left_bytes(site, user).await?;
        Ok(Self { _place: place, left_bytes, checked_bytes: 0 })
    }

    /// Before so much is written.
    async fn take(&mut self, site: &Site, bytes: u64) -> Result<(), WebError> {
        let left_bytes = self.left_bytes;
        self.left_bytes = left_bytes.checked_sub(bytes).ok_or(WebError::StorageFull {
            wanted_bytes: bytes,
            left_bytes,
            max_bytes: site.config.files.storage_max_bytes,
        })?;
        if self.checked_bytes < bytes {
            let (blobs, checked_bytes) = (site.blobs.clone(), bytes.max(CHECKED_BYTES));
            let checking = tokio::task::spawn_blocking(move || blobs.check_room(checked_bytes));
            checking.await.map_err(|_| WebError::Ask(AskError::Stopping))??;
            self.checked_bytes = checked_bytes;
        }
        self.checked_bytes -= bytes;
        Ok(())
    }
}

/// A file that no name leads to: it goes with its handle, whatever happens.
async fn nameless(dir: &Path) -> Result<File, WebError> {
    let dir = dir.to_owned();
    let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(dir)).await;
    made.expect("making a file does not panic").map(File::from_std).map_err(WebError::File)
}

fn refused(error: multer::Error) -> WebError {
    if TooSlow::is_behind(&error) {
        return WebError::TooSlow;
    }
    if matches!(error, multer::Error::StreamSizeExceeded { .. }) {
        return WebError::TooLarge { max_bytes: FILES_FORM_MAX_BYTES };
    }
    WebError::Body(format!("the form cannot be read: {error}"))
}
