//! The protocol as a small model, visited whole: what holds against a host that
//! has the TLS keys, and which attack each part of the protocol is there to stop.
//! docs/spec/model.md says what is and isn't covered, and how to run it wider.

mod direct;
mod explore;
mod links;
mod protocol;
mod sealed;
mod terms;

use direct::Direct;
use explore::Property::{Agreement, Freshness, Membership, NoReflection, Secrecy, Stage};
use explore::{Model, Property, explore, explore_until};
use links::Links;
use protocol::{Attacker, Protocol};
use sealed::Sealed;

const WHOLE: Protocol = Protocol::WHOLE;

/// Every reachable state is visited, and in none of them is a property broken.
fn holds<M: Model>(name: &str, model: &M) {
    let found = explore(model);
    println!(
        "{name}: holds; {} states, {} steps, {} with an acceptance",
        found.states, found.steps, found.accepting
    );
    assert!(found.attacks.is_empty(), "{name}:\n{}", found.narrative());
    assert!(found.accepting > 0, "{name}: nobody ever accepts anybody");
}

/// The attack is found: all of `properties` break.
fn falls<M: Model>(name: &str, model: &M, properties: &[Property]) {
    let found = explore_until(model, properties);
    println!(
        "{name}: falls after {} states\n{}",
        found.states,
        found.narrative()
    );
    for property in properties {
        assert!(
            found.breaks(*property),
            "{name}: {property:?} was expected to break"
        );
    }
}

fn direct(protocol: Protocol, attacker: Attacker) -> Direct {
    Direct::new(protocol, attacker)
}

#[test]
fn direct_lanes_hold_against_a_host_with_the_tls_keys() {
    let wide = std::env::var_os("BASTIDE_MODEL_WIDE").is_some();
    let probes = if wide { 2 } else { 1 };
    let model = Direct::within(WHOLE, Attacker::WITH_TLS_KEYS, [2, 1], probes);
    holds("lanes M and K, leaked TLS keys", &model);
    let model = Direct::within(WHOLE, Attacker::WITH_TLS_KEYS, [1, 1], 2);
    holds("lanes M and K, leaked TLS keys, two sessions of the host", &model);
}

#[test]
fn links_hold_against_a_host_with_the_tls_keys() {
    holds(
        "links, leaked TLS keys",
        &Links::new(WHOLE, Attacker::WITH_TLS_KEYS),
    );
    holds("links, weak TLS", &Links::new(WHOLE, Attacker::WITH_WEAK_TLS));
}

#[test]
fn the_sealed_mode_holds_though_the_host_carries_everything() {
    holds("sealed mode", &Sealed::new(WHOLE));
}

#[test]
fn evidence_in_a_certificate_falls_to_a_leaked_tls_key_and_only_then() {
    let certificate = Protocol {
        exporter: false,
        ..WHOLE
    };
    let model = direct(certificate, Attacker::WITH_TLS_KEYS);
    falls(
        "evidence bound to key and nonce, leaked TLS keys",
        &model,
        &[Agreement, Secrecy],
    );
    holds(
        "evidence bound to key and nonce, no leaked key",
        &direct(certificate, Attacker::WITHOUT_KEYS),
    );
    let model = Links::new(certificate, Attacker::WITH_TLS_KEYS);
    falls(
        "links by certificate, leaked TLS keys",
        &model,
        &[Agreement, Secrecy],
    );
}

#[test]
fn the_keys_in_the_binder_stop_relays_where_exporters_say_too_little() {
    let weak = Attacker::WITH_WEAK_TLS;
    holds("both keys in the binder, weak TLS", &direct(WHOLE, weak));
    let without = Protocol { spki: false, ..WHOLE };
    falls(
        "no keys in the binder, weak TLS",
        &direct(without, weak),
        &[Agreement, Secrecy],
    );
    let bearer = Protocol {
        credential_key: false,
        ..without
    };
    falls(
        "links, no keys in the binder, weak TLS",
        &Links::new(bearer, weak),
        &[Agreement, Secrecy],
    );
    let credentials_off = Protocol {
        credential_key: false,
        ..WHOLE
    };
    holds(
        "links, both keys in the binder, weak TLS",
        &Links::new(credentials_off, weak),
    );
}

/// What everything rests on: if the attacker has the keys and TLS can be made to
/// give two sessions one exporter, nothing is left that tells them apart.
#[test]
fn a_leaked_key_and_equal_exporters_together_are_not_survived() {
    let both = Attacker {
        equal_exporters: true,
        ..Attacker::WITH_TLS_KEYS
    };
    falls(
        "leaked TLS keys and weak TLS",
        &direct(WHOLE, both),
        &[Agreement, Secrecy],
    );
}

#[test]
fn the_nonce_keeps_the_sealed_mode_fresh() {
    let without = Protocol {
        nonce: false,
        ..WHOLE
    };
    falls(
        "sealed mode, no nonce",
        &Sealed::new(without),
        &[Secrecy, Freshness],
    );
    // In a session the exporter is fresh by itself: the nonce is the second of two.
    let model = Direct::within(without, Attacker::WITH_TLS_KEYS, [1, 1], 1);
    holds("lanes M and K, no nonce", &model);
    let neither = Protocol {
        exporter: false,
        ..without
    };
    falls(
        "no nonce and no exporter",
        &direct(neither, Attacker::WITH_TLS_KEYS),
        &[Freshness],
    );
}

#[test]
fn a_sealed_key_is_tied_to_its_evidence_twice() {
    let leaf_alone = Protocol {
        sealed_in_statement: false,
        ..WHOLE
    };
    let statement_alone = Protocol {
        sealed_in_binder: false,
        ..WHOLE
    };
    holds("sealed mode, key in the leaf alone", &Sealed::new(leaf_alone));
    holds(
        "sealed mode, key in the statement alone",
        &Sealed::new(statement_alone),
    );
    let neither = Protocol {
        sealed_in_binder: false,
        ..leaf_alone
    };
    falls(
        "sealed mode, key in neither",
        &Sealed::new(neither),
        &[Agreement, Secrecy],
    );
}

#[test]
fn reflection_needs_label_role_byte_and_leaf_type_to_be_missing() {
    let attacker = Attacker::WITH_TLS_KEYS;
    // Without credentials, which would refuse one's own key for another stage.
    let none = Protocol {
        role_label: false,
        role_byte: false,
        leaf_type: false,
        credential_key: false,
        ..WHOLE
    };
    falls(
        "links, no role anywhere",
        &Links::new(none, attacker),
        &[NoReflection],
    );
    for (name, one) in [
        (
            "label",
            Protocol {
                role_label: true,
                ..none
            },
        ),
        (
            "role byte",
            Protocol {
                role_byte: true,
                ..none
            },
        ),
        (
            "leaf type",
            Protocol {
                leaf_type: true,
                ..none
            },
        ),
    ] {
        holds(
            &format!("links, role in the {name} alone"),
            &Links::new(one, attacker),
        );
    }
}

#[test]
fn the_context_keeps_stages_apart() {
    let attacker = Attacker::WITH_TLS_KEYS;
    let neither = Protocol {
        context: false,
        credential_key: false,
        ..WHOLE
    };
    falls("links, no context", &Links::new(neither, attacker), &[Stage]);
    let context_alone = Protocol {
        context: true,
        ..neither
    };
    holds("links, context alone", &Links::new(context_alone, attacker));
    let credential_alone = Protocol {
        credential_key: true,
        ..neither
    };
    holds(
        "links, credentials alone",
        &Links::new(credential_alone, attacker),
    );
}

#[test]
fn a_genuine_enclave_of_the_attackers_is_no_member() {
    let attacker = Attacker::WITH_TLS_KEYS;
    let neither = Protocol {
        hardware_set: false,
        credential_key: false,
        ..WHOLE
    };
    falls(
        "links, any genuine enclave",
        &Links::new(neither, attacker),
        &[Membership],
    );
    let credential_alone = Protocol {
        hardware_set: false,
        ..WHOLE
    };
    holds(
        "links, credentials without a hardware set",
        &Links::new(credential_alone, attacker),
    );
    let hardware_alone = Protocol {
        credential_key: false,
        ..WHOLE
    };
    holds(
        "links, a hardware set without credentials",
        &Links::new(hardware_alone, attacker),
    );
}

#[test]
fn lane_k_needs_a_recent_lane_m_and_the_binder() {
    let attacker = Attacker::WITH_TLS_KEYS;
    let first_contact = Protocol {
        lane_k_after_m: false,
        ..WHOLE
    };
    falls(
        "lane K on first contact",
        &direct(first_contact, attacker),
        &[Secrecy, Freshness],
    );
    let no_age = Protocol {
        lane_k_age: false,
        ..WHOLE
    };
    falls(
        "lane K for ever",
        &direct(no_age, attacker),
        &[Secrecy, Freshness],
    );
    let no_binder = Protocol {
        lane_k_binder: false,
        ..WHOLE
    };
    falls(
        "lane K over the statement alone",
        &direct(no_binder, attacker),
        &[Agreement, Secrecy],
    );
    let with_key = Attacker {
        session_keys: true,
        ..attacker
    };
    falls(
        "lane K, its key leaked in use",
        &direct(WHOLE, with_key),
        &[Agreement, Secrecy],
    );
}

/// T9: depth in the statement, prefixes and the enclave's own salt each stop a
/// leaf from being taken for a node; without all three a host walks in.
#[test]
fn a_leaf_is_never_a_node() {
    let attacker = Attacker::WITH_TLS_KEYS;
    let none = Protocol {
        depth: false,
        prefixes: false,
        own_salt: false,
        ..WHOLE
    };
    falls(
        "no depth, no prefixes, no salt",
        &direct(none, attacker),
        &[Agreement, Secrecy],
    );
    for (name, one) in [
        ("depth in the statement", Protocol { depth: true, ..none }),
        (
            "prefixes",
            Protocol {
                prefixes: true,
                ..none
            },
        ),
        (
            "salt of the enclave's own",
            Protocol {
                own_salt: true,
                ..none
            },
        ),
    ] {
        let model = Direct::within(one, attacker, [1, 1], 1);
        holds(&format!("only: {name}"), &model);
    }
}
