// A first account, for owners that have none yet.
import { open, stamp, toast, write } from "./dom";

/** Asks for a name and has the owner create an account. */
export function addAccount(url: string, token: string, added: () => void): void {
  const { part } = stamp<"dialog" | "form" | "name" | "note" | "cancel">("account");
  const dialog = open(part.dialog);
  const create = async (name: string) => {
    const answer = await fetch(`${url}/accounts`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ name, type: "account" }),
    }).catch(() => null);
    if (!answer?.ok) {
      write(part.note, "The account was not added: the service that owns accounts did not take it. Try again in a moment.");
      return;
    }
    dialog.close();
    toast(`${name} added.`);
    added();
  };
  part.form.onsubmit = (event) => {
    event.preventDefault();
    void create((part.name as HTMLInputElement).value.trim());
  };
  part.cancel.onclick = () => dialog.close();
}
