//! A transaction as TON Center's v3 API writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::error::Error;

use super::{DevChain, Transfer};
use crate::domain::TonAddress;

/// The operation of a text comment.
const OP_COMMENT: u32 = 0;

/// What forwarding a message costs, in nanotons.
const FORWARD_FEE: &str = "266669";

/// One transaction of the account, and what it names as its predecessor.
pub(super) fn transaction(
    chain: &DevChain,
    transfer: &Transfer,
    before: Option<&Transfer>,
) -> Value {
    let hash = STANDARD.encode(transfer.hash.as_bytes());
    let (before_lt, before_hash) =
        before.map_or((0, [0; 32]), |before| (before.lt, *before.hash.as_bytes()));
    let at_s = transfer.paid_at.wall.us() / 1_000_000;
    json!({
        "account": raw(chain.account),
        "hash": hash,
        "lt": transfer.lt.to_string(),
        "prev_trans_hash": STANDARD.encode(before_hash),
        "prev_trans_lt": before_lt.to_string(),
        "now": at_s,
        "mc_block_seqno": at_s,
        "trace_id": hash,
        "orig_status": "active",
        "end_status": "active",
        "description": {
            "type": "ord",
            "aborted": false,
            "destroyed": false,
            "credit_first": true,
            "credit_ph": {"credit": transfer.amount.minor().to_string()},
            "compute_ph": {"skipped": false, "success": true, "exit_code": 0},
        },
        "in_msg": message(chain, transfer, at_s),
        "out_msgs": [],
        "emulated": false,
        "finality": "finalized",
    })
}

fn message(chain: &DevChain, transfer: &Transfer, at_s: i64) -> Value {
    let comment = transfer.user_id.to_string();
    let body = body(&comment).expect("a user id fits a cell");
    json!({
        "hash": STANDARD.encode(Sha256::digest(transfer.hash.as_bytes())),
        "source": raw(chain.wallet),
        "destination": raw(chain.account),
        "value": transfer.amount.minor().to_string(),
        "fwd_fee": FORWARD_FEE,
        "created_lt": transfer.lt.saturating_sub(1).to_string(),
        "created_at": at_s.to_string(),
        "opcode": "0x00000000",
        "decoded_opcode": "text_comment",
        "bounce": false,
        "bounced": false,
        "message_content": {
            "hash": STANDARD.encode(body.repr_hash().0),
            "body": STANDARD.encode(Boc::encode(&body)),
            "decoded": {"type": "text_comment", "@type": "text_comment", "comment": comment},
        },
        "init_state": null,
    })
}

fn body(comment: &str) -> Result<Cell, Error> {
    let mut cell = CellBuilder::new();
    cell.store_u32(OP_COMMENT)?;
    for byte in comment.bytes() {
        cell.store_u8(byte)?;
    }
    cell.build()
}

/// Raw, in capitals as the API writes it.
fn raw(address: TonAddress) -> String {
    address.to_string().to_uppercase()
}
