// At the first start, beside the user root: TESPES itself, who may read and write its own database.
db.getSiblingDB("tespes").createUser({
  user: "tespes",
  pwd: process.env.MONGODB_PASSWORD,
  roles: [{ role: "readWrite", db: "tespes" }],
});
