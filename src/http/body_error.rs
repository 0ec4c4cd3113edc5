//! Why a body does not hold a secret. No error repeats any part of a value.

use thiserror::Error;

/// Why a body does not hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// No notice of changed secrets.
    #[error("the body names no changed secrets")]
    Notice,
    /// Not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotUtf8,
    /// Said to be in another encoding.
    #[error("the body is in an encoding other than UTF-8")]
    Charset,
    /// Not JSON.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the JSON body is not an object")]
    NotObject,
    /// The field is missing.
    #[error("the body has no field '{field}'")]
    Missing {
        /// The field.
        field: String,
    },
    /// The field is null, or has a member that is.
    #[error("the field '{field}' is or holds null, which no vault can keep")]
    Null {
        /// The field.
        field: String,
    },
    /// The field is a list, or has a member that is.
    #[error("the field '{field}' is or holds a list, which no vault can keep")]
    List {
        /// The field.
        field: String,
    },
    /// Text that UTF-8 cannot hold.
    #[error("the field '{field}' holds text that is not Unicode (a lone surrogate)")]
    Unrepresentable {
        /// The field.
        field: String,
    },
    /// Objects in objects in objects.
    #[error("the field '{field}' is nested too deeply")]
    Deep {
        /// The field.
        field: String,
    },
    /// Two names of one table that a vault would take for one.
    #[error("the field '{field}' has two members whose names differ in case only")]
    TwoCases {
        /// The field.
        field: String,
    },
    /// A file in place of text.
    #[error("the field '{field}' is a file upload")]
    File {
        /// The field.
        field: String,
    },
    /// A multipart body that cannot be read.
    #[error("the multipart body is malformed")]
    Multipart,
    /// A form in which the whole secret should be, without its field.
    #[error("the body is a form without the field 'Value'")]
    Form,
    /// A media type that holds no secret.
    #[error("the body's media type is not one that can be written to a secret")]
    Media,
    /// Not one of the members that a written secret may have.
    #[error("the body has a member other than Value, Type and Metadata")]
    Member,
    /// The body's name is not the path's.
    #[error("the body's Name is not the name in the path")]
    Name,
    /// No such type.
    #[error("the body's Type is not one of the five types of secrets")]
    Type,
    /// Value and type do not go together.
    #[error("the body's Value does not go with its Type")]
    Mismatch,
    /// Metadata of a kind that vaults do not take.
    #[error("the body's Metadata has a value that is neither text, nor a whole number, nor a date")]
    Metadata,
}

// === impl BodyError ===

impl BodyError {
    /// What to send instead.
    pub fn hint(&self) -> &'static str {
        match self {
            BodyError::Notice => {
                "send {\"secrets\":[{\"vault\":\"…\",\"key\":\"…\"}]} as JSON, or Event Grid's events"
            }
            BodyError::NotUtf8 | BodyError::Charset => "send UTF-8, or bytes as application/octet-stream",
            BodyError::Missing { .. } => "send it as a form (Value=…) or as JSON ({\"Value\":\"…\"})",
            BodyError::File { .. } => "send it as text: curl -F 'Value=<file', not 'Value=@file'",
            BodyError::Multipart => "the Content-Type needs the boundary that the body uses",
            BodyError::Form => {
                "curl -d sends a form: write -d 'Value=…', or -H 'Content-Type: text/plain' --data-binary '…'"
            }
            BodyError::Media => {
                "text/plain, application/octet-stream, application/json, or a form with the field Value"
            }
            BodyError::Member | BodyError::Name => {
                "{\"Value\":…,\"Type\":…,\"Metadata\":{…}}; Type and Metadata may be missing"
            }
            BodyError::Type => "String, SecureString, ByteArray, Hashtable or PSCredential",
            BodyError::Mismatch => {
                "text for String and SecureString, base64 for ByteArray, {\"UserName\",\"Password\"} for \
                 PSCredential, for Hashtable an object of texts and {\"Type\",\"Value\"}"
            }
            BodyError::Metadata => "a date is {\"Type\":\"DateTime\",\"Value\":\"2026-11-23T10:00:00Z\"}",
            BodyError::Json { .. }
            | BodyError::NotObject
            | BodyError::Null { .. }
            | BodyError::List { .. }
            | BodyError::Unrepresentable { .. }
            | BodyError::Deep { .. }
            | BodyError::TwoCases { .. } => "a secret is text, a number, a boolean, or an object of these",
        }
    }
}
