// The page of the list.
import { door, menu, remembered, type Person } from "./session";
import { ListPage } from "./page";

let page: ListPage | null = null;

function enter(person: Person): void {
  page?.close();
  page = new ListPage(person, (note) => {
    page?.close();
    page = null;
    door(false, note, enter);
  });
  menu(person, () => page?.leave(""), enter);
}

const person = remembered(false);
if (person) enter(person);
else door(false, "", enter);
