using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Globalization;
using System.Linq;
using System.Management.Automation;
using System.Management.Automation.Language;

namespace SecretBridge.Pode;

/// <summary>Runs a block of a custom vault. What it changed in the vault's table goes back with the answer, also where it throws.</summary>
public static class CustomBlock
{
    /// <summary>Runs a block with its arguments and gives its output; only a script can part that from what goes to the log.</summary>
    public static Func<Block, object?[], List<object>>? Run { get; set; }

    /// <summary>Carries out the core's call.</summary>
    public static OrderedDictionary Invoke(IDictionary call)
    {
        string kind = PlainJson.Text(call["kind"]);
        SharedCopy? copy = PlainJson.Bare(call["table"]) is IDictionary table ? Shared.Receive(table) : null;
        OrderedDictionary answer = PlainJson.NewObject();
        if (copy is not null)
        {
            Shared.Enter(copy.Id);
        }
        try
        {
            Block block = Blocks.Get(Convert.ToInt64(call["block"]));
            List<object> output = Run!(block, Arguments(call, kind, copy?.Live, block));
            if (kind == "read")
            {
                answer["value"] = Portable.Tag(ValueOf(output));
            }
            else if (kind == "unlock" && ExpiryOf(output) is string expiry)
            {
                answer["expiry"] = expiry;
            }
        }
        catch (Exception exception) when (exception is not (FlowControlException or PipelineStoppedException))
        {
            answer["failed"] = ScriptFaults.Of(Faults.RecordOf(exception));
        }
        finally
        {
            if (copy is not null)
            {
                Shared.Leave();
            }
        }
        // The table first: what the block left that cannot travel is told with it.
        if (copy is not null && !Fields.Flag(call, "reads"))
        {
            AddTable(answer, copy, Fields.Flag(call, "local"));
        }
        Shared.BeforeAsk();
        return answer;
    }

    // The vault's table, then what its kind says.
    private static object?[] Arguments(IDictionary call, string kind, object? table, Block block)
    {
        List<object?> list = [table];
        switch (kind)
        {
            case "read" or "remove":
                list.Add(call["key"]);
                break;
            case "set":
                object? value = Portable.Untag(Fields.Object(call, "value"));
                Portable.Note(value);
                list.Add(call["key"]);
                list.Add(call.Contains("member") ? WithMember(Fields.Object(call, "member"), value) : value);
                list.Add(PlainJson.Bare(call["metadata"]) is IDictionary metadata ? Metadata.Untag(metadata) : null);
                break;
            case "unlock":
                Portable.Note(call["secret"]);
                list.Add(call["secret"]);
                return [.. list];
            default:
                return [.. list];
        }
        object?[] more = Portable.UntagList(call["arguments"] as IEnumerable);
        list.AddRange(more);
        // Pode puts a `$null` in the place of no arguments, which a parameter's default gives way to. A block that takes no more than it
        // names would refuse it.
        if (more.Length == 0 && !HasCmdletBinding(block.ScriptBlock))
        {
            list.Add(null);
        }
        return [.. list];
    }

    private static bool HasCmdletBinding(ScriptBlock block) =>
        block.Ast is ScriptBlockAst { ParamBlock: ParamBlockAst parameters }
        && parameters.Attributes.Any(attribute => attribute.TypeName.Name.Equals("CmdletBinding", StringComparison.OrdinalIgnoreCase));

    // What a block has changed in its table. Of a block that ran for this worker alone only what cannot leave it is kept.
    private static void AddTable(OrderedDictionary answer, SharedCopy copy, bool isLocal)
    {
        if (isLocal)
        {
            copy.Live = SharedReader.Read(copy.Text, copy.Live);
            return;
        }
        SharedText found = SharedText.Of(copy.Live);
        if (Shared.Change(copy, found.Text) is not OrderedDictionary change)
        {
            return;
        }
        answer["table"] = change;
        // A thing of the same type in the same place is named in the older text too.
        string[] fresh = found.Stays.Except(copy.Stays).ToArray();
        if (fresh.Length > 0)
        {
            answer["stays"] = fresh;
        }
        copy.Stays = found.Stays;
    }

    // A table with one member changed, from what a vault's block gave: a table of any kind, or an object.
    private static Hashtable WithMember(IDictionary member, object? value)
    {
        object? whole = PlainJson.Bare(Portable.Untag(Fields.Object(member, "whole")));
        Hashtable table = Values.NewTable();
        switch (whole)
        {
            case IDictionary members:
                foreach (DictionaryEntry entry in members)
                {
                    table[entry.Key] = entry.Value;
                }
                break;
            case PSObject custom:
                foreach (PSPropertyInfo property in custom.Properties)
                {
                    table[property.Name] = property.Value;
                }
                break;
            default:
                throw new BridgeException("SecretMember", $"'{member["name"]}' cannot be updated by itself: the secret is no table but a {whole?.GetType().Name}", ErrorCategory.InvalidType);
        }
        table[PlainJson.Text(member["name"])] = value;
        return table;
    }

    // Bytes that the pipeline took apart are bytes again.
    private static object? ValueOf(List<object> output) => output.Count switch
    {
        0 => null,
        1 => output[0],
        _ when output.TrueForAll(item => PlainJson.Bare(item) is byte) => output.ConvertAll(item => (byte)PlainJson.Bare(item)!).ToArray(),
        _ => output.ToArray(),
    };

    // Until when an unlock block says that its vault is unlocked: a date, or a text that is one.
    private static string? ExpiryOf(List<object> output)
    {
        foreach (object? item in output)
        {
            DateTime? date = PlainJson.Bare(item) switch
            {
                DateTime at => at,
                DateTimeOffset at => at.UtcDateTime,
                string text when LanguagePrimitives.TryConvertTo(text, CultureInfo.InvariantCulture, out DateTime at) => at,
                _ => null,
            };
            if (date is DateTime found)
            {
                return found.ToUniversalTime().ToString("o", CultureInfo.InvariantCulture);
            }
        }
        return null;
    }
}
