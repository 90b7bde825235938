/** The two that a store talks to, deaf but for what a test hands in. */
import type { StoreLoader, StoreOwner } from '../../src/ports/store.ts'

export function storeOwner(members: Partial<StoreOwner> = {}): StoreOwner {
  return { onDurable() {}, onFailure() {}, onRecovered() {}, ...members }
}

export function storeLoader(members: Partial<StoreLoader> = {}): StoreLoader {
  return {
    onEpoch() {},
    onSession() {},
    onInbox() {},
    onRetained() {},
    onMark() {},
    onLoss() {},
    onDelay() {},
    ...members,
  }
}
