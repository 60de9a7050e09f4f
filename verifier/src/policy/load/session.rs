//! The `[session]` section: how the TLS session is set up. There is always one:
//! no default decides it.

use crate::policy::schema::Session;
use crate::policy::session::{KeyExchange, ServerCertificate, SessionRules};
use crate::policy::source::{Outcome, Source};

/// Reads the section.
pub(super) fn read(source: Source<'_>, session: &Session) -> Outcome<SessionRules> {
    Ok(SessionRules {
        key_exchange: match source.one_of(&session.key_exchange, &["post_quantum", "any"])? {
            "post_quantum" => KeyExchange::PostQuantum,
            _ => KeyExchange::Any,
        },
        certificate: match source.one_of(&session.certificate, &["any", "web_pki"])? {
            "web_pki" => ServerCertificate::WebPki,
            _ => ServerCertificate::Any,
        },
    })
}
