//! What one transaction does: an event added with all that it brings, and what is
//! over or too much taken out.

use super::*;

pub(super) fn add(transaction: &WriteTransaction, event: &Event) -> Result<u64, redb::Error> {
    match event {
        Event::Appraisal {
            at,
            node,
            verdict,
            evidence,
        } => add_appraisal(transaction, *at, node, verdict, evidence.as_deref()),
        Event::Plan { at, plan } => {
            keep_plan(transaction, plan, *at)?;
            Ok(*at)
        }
        Event::Receipt {
            at,
            node,
            receipt,
            salt,
            attested,
        } => {
            if let Some(pipeline) = &receipt.claims().pipeline {
                let plan = pipeline.plan.as_bytes().as_slice();
                let known = transaction.open_table(PLANS)?.get(plan)?.is_some();
                if known {
                    touch(&mut transaction.open_table(PLANS_SEEN)?, plan, *at)?;
                }
            }
            let statement = receipt.claims().statement;
            let vouched = transaction
                .open_table(STATEMENTS)?
                .get(statement.as_bytes().as_slice())?
                .is_some();
            if let Some((verdict, envelope)) = attested.as_ref().filter(|_| !vouched) {
                add_appraisal(transaction, *at, node, verdict, Some(envelope))?;
            }
            let digest = receipt.digest();
            let known = transaction
                .open_table(RECEIPTS)?
                .get(digest.as_slice())?
                .is_some();
            if !known {
                let entry = Entry::Receipt(Kept::new(*at, node.clone(), receipt, salt.as_ref()));
                let at = number(transaction, &entry)?;
                transaction.open_table(RECEIPTS)?.insert(digest.as_slice(), at)?;
            }
            // Evidence is kept as long as a receipt that needs it.
            keep_on(transaction, statement.as_bytes(), *at)?;
            if let Some(pipeline) = &receipt.claims().pipeline {
                for part in pipeline
                    .parts
                    .iter()
                    .filter_map(|part| SignedPart::verify(part).ok())
                {
                    keep_on(transaction, part.claims().statement.as_bytes(), *at)?;
                }
            }
            Ok(*at)
        }
    }
}

/// Notes that the evidence of a statement was needed, if there is any.
fn keep_on(transaction: &WriteTransaction, statement: &[u8; 32], at: u64) -> Result<(), redb::Error> {
    let key = transaction
        .open_table(STATEMENTS)?
        .get(statement.as_slice())?
        .map(|key| key.value().to_vec());
    if let Some(key) = key {
        let mut seen = transaction.open_table(SEEN)?;
        let before = seen.get(key.as_slice())?.map(|seen| seen.value());
        if let Some((first, last, accepted)) = before {
            seen.insert(key.as_slice(), (first, last.max(at), accepted))?;
        }
    }
    Ok(())
}

fn add_appraisal(
    transaction: &WriteTransaction,
    at: u64,
    node: &str,
    verdict: &Verdict,
    evidence: Option<&[u8]>,
) -> Result<u64, redb::Error> {
    // A verdict always serialises: its members are texts and lists of them.
    let (bytes, digest) = record::verdict(verdict).unwrap_or_default();
    transaction
        .open_table(VERDICTS)?
        .insert(digest.as_slice(), bytes.as_slice())?;
    touch(&mut transaction.open_table(GIVEN)?, &digest, at)?;
    let accepted = verdict.decision == Decision::Accepted;
    let key = evidence.map(EvidenceKey::of);
    if let (Some(key), Some(envelope)) = (&key, evidence) {
        keep_envelope(transaction, key, envelope, at, accepted)?;
    }
    let entry = Entry::Appraisal(Appraisal {
        at,
        node: node.to_owned(),
        decision: record::word(verdict.decision).to_owned(),
        code: verdict.code.map(str::to_owned),
        simulated: verdict.simulated,
        policy: verdict.policy.clone(),
        policy_digest: verdict.policy_digest.clone(),
        statement: key.as_ref().and_then(|key| key.statement).map(hex::encode),
        report: key.as_ref().and_then(|key| key.report).map(hex::encode),
        evidence: key.as_ref().map(|key| hex::encode(key.key)),
        verdict: hex::encode(digest),
    });
    number(transaction, &entry)?;
    Ok(at)
}

/// Keeps a plan once; the one that nobody needed for longest makes room.
fn keep_plan(transaction: &WriteTransaction, plan: &SignedPlan, at: u64) -> Result<(), redb::Error> {
    let mut plans = transaction.open_table(PLANS)?;
    let mut seen = transaction.open_table(PLANS_SEEN)?;
    let digest = plan.digest();
    let digest = digest.as_bytes().as_slice();
    if plans.get(digest)?.is_none() {
        if plans.len()? >= MAX_PLANS {
            let mut oldest: Option<(u64, Vec<u8>)> = None;
            for pair in seen.iter()? {
                let (key, last) = pair?;
                if oldest.as_ref().is_none_or(|(before, _)| last.value() < *before) {
                    oldest = Some((last.value(), key.value().to_vec()));
                }
            }
            if let Some((_, key)) = oldest {
                seen.remove(key.as_slice())?;
                plans.remove(key.as_slice())?;
            }
        }
        plans.insert(digest, plan.as_bytes())?;
    }
    touch(&mut seen, digest, at)
}

fn prune_plans(transaction: &WriteTransaction, oldest: u64) -> Result<(), redb::Error> {
    let mut gone = Vec::new();
    transaction.open_table(PLANS_SEEN)?.retain(|key, last| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut plans = transaction.open_table(PLANS)?;
    for key in &gone {
        plans.remove(key.as_slice())?;
    }
    Ok(())
}

fn touch(table: &mut Table<'_, &'static [u8], u64>, key: &[u8], at: u64) -> Result<(), redb::Error> {
    let before = table.get(key)?.map_or(0, |at| at.value());
    table.insert(key, before.max(at))?;
    Ok(())
}

/// Keeps an envelope once for each report and statement. One that was accepted
/// takes the place of one that was not: whoever showed a broken copy first must
/// not be what is kept of the report.
fn keep_envelope(
    transaction: &WriteTransaction,
    key: &EvidenceKey,
    envelope: &[u8],
    at: u64,
    accepted: bool,
) -> Result<(), redb::Error> {
    let mut seen = transaction.open_table(SEEN)?;
    let before = seen.get(key.key.as_slice())?.map(|seen| seen.value());
    let (first, last, was_accepted) = before.unwrap_or((at, at, false));
    if before.is_none() || (accepted && !was_accepted) {
        transaction
            .open_table(EVIDENCE)?
            .insert(key.key.as_slice(), envelope)?;
    }
    if let Some(statement) = key.statement {
        let mut statements = transaction.open_table(STATEMENTS)?;
        let known = statements.get(statement.as_slice())?.is_some();
        if accepted || !known {
            statements.insert(statement.as_slice(), key.key.as_slice())?;
        }
    }
    // The time of the first that was accepted, if one was: as of it, it can be appraised again.
    let first = if accepted && !was_accepted { at } else { first };
    seen.insert(
        key.key.as_slice(),
        (first, last.max(at), accepted || was_accepted),
    )?;
    Ok(())
}

fn number(transaction: &WriteTransaction, entry: &Entry) -> Result<u64, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let next = meta.get("next")?.map_or(1, |next| next.value());
    meta.insert("next", next.saturating_add(1))?;
    // Members are texts and numbers, which are JSON whatever they are.
    let bytes = serde_json::to_vec(entry).unwrap_or_default();
    transaction.open_table(ENTRIES)?.insert(next, bytes.as_slice())?;
    Ok(next)
}

/// Takes away what is too old or too much: entries from the front, and what no
/// entry that is left can need.
pub(super) fn prune(transaction: &WriteTransaction, now: u64, bounds: Bounds) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let pruned = meta.get("pruned")?.map_or(0, |pruned| pruned.value());
    let entries = transaction.open_table(ENTRIES)?.len()?;
    let envelopes = transaction.open_table(EVIDENCE)?.len()?;
    let over = entries > bounds.entries || envelopes > bounds.envelopes;
    if !over && now < pruned.saturating_add(PRUNE) {
        return Ok(());
    }
    meta.insert("pruned", now)?;
    let mut oldest = now.saturating_sub(bounds.days.saturating_mul(DAY));
    prune_entries(transaction, oldest, bounds.entries)?;
    prune_plans(transaction, oldest)?;
    if envelopes > bounds.envelopes {
        oldest = oldest.max(age_of_excess(transaction, bounds.envelopes)?);
    }
    let mut gone = Vec::new();
    transaction.open_table(SEEN)?.retain(|key, (_, last, _)| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut evidence = transaction.open_table(EVIDENCE)?;
    for key in &gone {
        evidence.remove(key.as_slice())?;
    }
    gone.sort();
    transaction
        .open_table(STATEMENTS)?
        .retain(|_, key| gone.binary_search_by(|gone| gone.as_slice().cmp(key)).is_err())?;
    let mut gone = Vec::new();
    transaction.open_table(GIVEN)?.retain(|key, last| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut verdicts = transaction.open_table(VERDICTS)?;
    for key in &gone {
        verdicts.remove(key.as_slice())?;
    }
    Ok(())
}

fn prune_entries(transaction: &WriteTransaction, oldest: u64, most: u64) -> Result<(), redb::Error> {
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut receipts = transaction.open_table(RECEIPTS)?;
    loop {
        let excess = entries.len()? > most;
        let first = entries.first()?.map(|(number, bytes)| {
            let entry = serde_json::from_slice::<Entry>(bytes.value()).ok();
            (number.value(), entry)
        });
        let Some((number, entry)) = first else {
            return Ok(());
        };
        // One that can't be read goes when all before it have gone.
        let over = entry.as_ref().is_none_or(|entry| entry.at() < oldest);
        if !over && !excess {
            return Ok(());
        }
        entries.remove(number)?;
        if let Some(Entry::Receipt(kept)) = entry
            && let Ok(digest) = hex::decode(&kept.digest)
        {
            receipts.remove(digest.as_slice())?;
        }
    }
}

/// A time before which enough was last seen to make a tenth of the room free.
fn age_of_excess(transaction: &WriteTransaction, most: u64) -> Result<u64, redb::Error> {
    let seen = transaction.open_table(SEEN)?;
    let mut ages = Vec::new();
    for pair in seen.iter()? {
        let (_, value) = pair?;
        ages.push(value.value().1);
    }
    ages.sort_unstable();
    let keep = usize::try_from(most / 10 * 9).unwrap_or(usize::MAX);
    let at = ages.len().saturating_sub(keep);
    Ok(ages.get(at).copied().unwrap_or_default())
}
