# An empty Redmine with two projects whose issues are accounts and contacts, custom fields for what issues do not have, and a user with an API key.
Setting.rest_api_enabled = "1"
Role.create!(name: "Keeper", permissions: %i[view_issues add_issues edit_issues delete_issues edit_own_issues])
open, closed = [["open", false], ["closed", true]].map { |name, done| IssueStatus.create!(name: name, is_closed: done) }
tracker = Tracker.create!(name: "Record", default_status: open)
IssuePriority.create!(name: "normal", is_default: true)
field = lambda do |name, format = "string", **more|
  IssueCustomField.create!({ name: name, field_format: format, is_for_all: true, is_filter: true, trackers: [tracker], visible: true }.merge(more))
end
%w[street city region zip country phone website type number].each { |name| field.call(name) }         # 1 to 9
field.call("active", "bool")                                                                        # 10
field.call("autotask_id")                                                                           # 11
field.call("account", "int")                                                                        # 12
%w[first_name last_name email mobile].each { |name| field.call(name) }                                # 13 to 16
field.call("is_primary", "bool")                                                                    # 17
user = User.new(firstname: "Ann", lastname: "Keeper", mail: "ann@example.com", language: "en")
user.login = "ann"
user.password = user.password_confirmation = "example-password"
user.save!
Token.create!(user: user, action: "api").update_column(:value, "exampleapikey")
%w[accounts contacts].each do |name|
  project = Project.create!(name: name, identifier: name, trackers: [tracker], enabled_module_names: %w[issue_tracking], is_public: false)
  Member.create!(project: project, principal: user, roles: [Role.find_by(name: "Keeper")])
end
WorkflowTransition.create!(role: Role.find_by(name: "Keeper"), tracker: tracker, old_status: open, new_status: closed)
