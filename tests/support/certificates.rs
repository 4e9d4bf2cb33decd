//! A certificate authority of a test, with certificates for names on the loopback.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// A certificate authority of a test.
#[derive(Debug)]
pub struct Authority {
    key: PKey<Private>,
    pub certificate: X509,
}

impl Authority {
    /// Makes one, and writes its certificate.
    pub fn new(path: &Path) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2_048).expect("a key")).expect("a key");
        let certificate = certificate("authority", &key, None);
        std::fs::write(path, certificate.to_pem().expect("PEM")).expect("written");
        Self { key, certificate }
    }

    /// Writes a certificate for this name and the loopback, and its key.
    pub fn issue(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = PKey::from_rsa(Rsa::generate(2_048).expect("a key")).expect("a key");
        let issued = certificate(name, &key, Some(self));
        let (certificate, private) = (
            dir.join(format!("{name}.pem")),
            dir.join(format!("{name}.key")),
        );
        std::fs::write(&certificate, issued.to_pem().expect("PEM")).expect("written");
        let pem = key.private_key_to_pem_pkcs8().expect("PEM");
        std::fs::write(&private, pem).expect("written");
        (certificate, private)
    }
}

/// A certificate of a key, by an authority or by itself.
fn certificate(name: &str, key: &PKey<Private>, by: Option<&Authority>) -> X509 {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let make = || -> Result<X509, openssl::error::ErrorStack> {
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let serial = BigNum::from_u32(rand::random::<u32>() >> 1)?.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(by.map_or(&subject, |by| by.certificate.subject_name()))?;
        builder.set_pubkey(key)?;
        builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
        if by.is_none() {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        } else {
            let names = SubjectAlternativeName::new()
                .ip("127.0.0.1")
                .dns(name)
                .build(&builder.x509v3_context(None, None))?;
            builder.append_extension(names)?;
        }
        let signed_by = by.map_or(key, |by| &by.key);
        builder.sign(signed_by, MessageDigest::sha256())?;
        Ok(builder.build())
    };
    make().expect("a certificate")
}
