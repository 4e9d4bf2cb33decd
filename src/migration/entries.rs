//! `import --entries`: the rows of a file become entries, in the file's order, batch by batch.

use serde_json::value::RawValue;

use crate::migration::check::check;
use crate::migration::lines::{Row, Rows};
use crate::migration::service::{Posted, Service};
use crate::migration::{BATCH_BYTES_MAX, Counts, Input, MigrationError, Observer, Options};

/// Posts all entries of a file; with `is_dry_run` it only checks them. [`Counts::known`] are duplicates.
///
/// # Errors
/// [`MigrationError`]. Run again, it goes on: what is in the ledger already is a duplicate.
pub async fn import_entries(
    options: &Options,
    input: Input,
    is_dry_run: bool,
    observer: &mut dyn Observer,
) -> Result<Counts, MigrationError> {
    observer.begin(input.length.unwrap_or(0));
    let service = Service::new(options);
    let mut rows = input.rows(&["user_id"])?;
    let mut counts = Counts::default();
    let mut done_bytes = 0;
    loop {
        let (batch, is_over) = next_batch(options, &mut rows, &mut counts, observer)?;
        if is_dry_run {
            for row in &batch {
                match check(row, &options.currencies) {
                    Ok(()) => counts.accepted += 1,
                    Err(refused) => {
                        counts.rejected += 1;
                        observer.refused(&refused)?;
                    }
                }
            }
        } else {
            post(&service, &batch, &mut counts, observer).await?;
        }
        observer.advance(rows.bytes() - done_bytes);
        done_bytes = rows.bytes();
        if is_over {
            return Ok(counts);
        }
    }
}

/// The next rows, and whether the file ends with them.
fn next_batch(
    options: &Options,
    rows: &mut Rows,
    counts: &mut Counts,
    observer: &mut dyn Observer,
) -> Result<(Vec<Row>, bool), MigrationError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < options.batch_entries && bytes < BATCH_BYTES_MAX {
        match rows.next_row()? {
            None => return Ok((batch, true)),
            Some(Ok(row)) => {
                bytes += row.object.get().len();
                batch.push(row);
            }
            Some(Err(refused)) => {
                counts.rejected += 1;
                observer.refused(&refused)?;
            }
        }
    }
    Ok((batch, false))
}

async fn post(
    service: &Service<'_>,
    batch: &[Row],
    counts: &mut Counts,
    observer: &mut dyn Observer,
) -> Result<(), MigrationError> {
    let items: Vec<&RawValue> = batch.iter().map(|row| row.object.as_ref()).collect();
    let posted = service.post(&items).await?;
    for (row, posted) in batch.iter().zip(posted) {
        match posted {
            Posted::Accepted => counts.accepted += 1,
            Posted::Duplicate => counts.known += 1,
            Posted::Rejected { code, field } => {
                counts.rejected += 1;
                observer.refused(&row.refuse(&code, field))?;
            }
        }
    }
    Ok(())
}
