// Query, create, update and paging with @apigrate/autotask-restapi 2.0.1, unmodified. Arguments: base URL of the simulated Autotask.
const { AutotaskRestApi } = require('@apigrate/autotask-restapi');
const assert = require('node:assert');

(async () => {
  const api = new AutotaskRestApi('integration@example.test', 'sandbox-secret', 'SANDBOX', { base_url: `${process.argv[2]}/ATServicesRest/` });
  const company = await api.Companies.create({ companyName: 'Foreign Client Ltd', companyType: 1, phone: '123', ownerResourceID: 29682885 });
  assert(company.itemId > 0);
  const contact = await api.CompanyContacts.create(company.itemId, { firstName: 'Jane', lastName: 'Doe', isActive: 1 });
  await api.CompanyContacts.update(company.itemId, { id: contact.itemId, phone: '456' });
  await api.Companies.update({ id: company.itemId, city: 'Troy' });
  assert.equal((await api.Companies.get(company.itemId)).item.city, 'Troy');
  const found = await api.Contacts.query({ filter: [{ op: 'eq', field: 'companyID', value: company.itemId }] });
  assert.equal(found.items[0].phone, '456');
  const { queryCount } = await api.Companies.count({ filter: [{ op: 'gte', field: 'id', value: 0 }] });
  let last = -1, seen = 0;
  for (let pages = 0; pages < 1000; pages++) {
    const page = await api.Companies.query({ filter: [{ op: 'gt', field: 'id', value: last }], MaxRecords: 50 });
    if (page.items.length === 0) break;
    seen += page.items.length;
    last = page.items.at(-1).id;
  }
  assert.equal(seen, queryCount);
  console.log(`apigrate: created, updated, found, paged ${seen} companies`);
})().catch((error) => { console.error(error); process.exit(1); });
