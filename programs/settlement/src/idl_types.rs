//! Prints, for the IDL, the account types that no instruction names by a typed account, and the items behind account headers.

use crate::state::{Claim, InboxEntry, SetEntry, Strike, Validator, ValidatorSlot};
use anchor_lang::IdlAccountType;

#[test]
fn __anchor_private_print_idl_types() {
    let (mut accounts, mut types) = (Vec::new(), Vec::new());
    Claim::__register_idl_deps(&mut accounts, &mut types);
    Validator::__register_idl_deps(&mut accounts, &mut types);
    Strike::__register_idl_deps(&mut accounts, &mut types);
    InboxEntry::__register_idl_deps(&mut accounts, &mut types);
    ValidatorSlot::__register_idl_deps(&mut accounts, &mut types);
    SetEntry::__register_idl_deps(&mut accounts, &mut types);
    println!("--- IDL begin types ---");
    println!("{{\"accounts\":[{}],\"types\":[{}]}}", accounts.join(","), types.join(","));
    println!("--- IDL end types ---");
}
