//! What files are taken for a certificate, and when they are read again.

use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

use super::*;

fn write(directory: &Path) -> Files {
    let Made { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = Files { certificate: directory.join("tls.pem"), key: directory.join("tls.key") };
    std::fs::write(&files.certificate, cert.pem()).expect("written");
    std::fs::write(&files.key, signing_key.serialize_pem()).expect("written");
    files
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (files, others) = (write(directory.path()), write(other.path()));
    let missing = directory.path().join("missing");
    let cases = [
        (Files { certificate: missing.clone(), ..files.clone() }, "cannot read", &missing),
        (Files { key: missing.clone(), ..files.clone() }, "cannot read", &missing),
        (Files { certificate: files.key.clone(), ..files.clone() }, "holds no certificate", &files.key),
        (Files { key: files.certificate.clone(), ..files.clone() }, "holds no private key", &files.certificate),
        (Files { key: others.key.clone(), ..files.clone() }, "cannot be used together", &others.key),
    ];
    for (files, told, named) in cases {
        let error = Certificate::open(files).await.map(drop).expect_err(told).to_string();
        assert!(error.contains(told) && error.contains(&named.display().to_string()), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    assert!(Certificate::open(files).await.is_ok());
}

#[tokio::test]
async fn a_hangup_reads_files_that_have_not_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::open(write(directory.path())).await.expect("a certificate");
    let shown = Arc::clone(&certificate.shown);
    let before = shown.0.load_full();
    // From here on the signal does not end this process.
    let _handled = signal(SignalKind::hangup()).expect("a signal");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let follow = certificate.follow(move |trouble| {
        let _ = tell.send(trouble);
    });
    let hang_up = async {
        let pid = std::process::id().to_string();
        // The first may come before the signal is listened to.
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs");
        }
    };
    let told = tokio::select! {
        told = told.recv() => told,
        () = follow => None,
        () = hang_up => None,
    };
    assert_eq!(told, Some(None), "all is well");
    assert!(!Arc::ptr_eq(&before, &shown.0.load_full()), "it has been read again");
}
